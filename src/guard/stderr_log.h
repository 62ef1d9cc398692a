// The guardian's log: lines on stderr in the shape of the agent's. A line is kept in memory until
// flush_log(), which never waits: what a full pipe, a stuck terminal or a hung disk does not take
// is dropped, and the next line that gets through says how much. One thread.
#pragma once

#include <sys/types.h>

namespace pgsteady::guard {

// Once, early: opens stderr a second time without blocking where that is possible; elsewhere a
// process of its own writes it, see log_writer.h.
void open_log();
// Flushes, and gives that process 200 ms to write what it has; the last call.
void close_log();

// That process, a child of the caller; 0 when there is none.
pid_t log_writer();
// It was reaped. Another one is started in time.
void log_writer_ended();

// level: "INFO", "WARNING", "ERROR".
[[gnu::format(printf, 2, 3)]] void log(const char* level, const char* format, ...);
void flush_log();

}  // namespace pgsteady::guard
