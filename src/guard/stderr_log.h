// The guardian's log: lines on stderr in the shape of the agent's. A line is kept in memory until
// flush_log(), which never waits: what a full pipe or a stuck terminal does not take is dropped,
// and the next line that gets through says how much. One thread.
#pragma once

#include <string_view>

namespace pgsteady::guard {

// Once, early: opens stderr a second time without blocking where that is possible.
void open_log();

// level: "INFO", "WARNING", "ERROR".
[[gnu::format(printf, 2, 3)]] void log(const char* level, const char* format, ...);
void flush_log();

}  // namespace pgsteady::guard
