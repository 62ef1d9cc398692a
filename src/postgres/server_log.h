// What the server wrote into its log when it failed. For people, and as a hint to the policy: the
// log may be elsewhere, off, or in another language.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgsteady::pg {

// How far a log directory was written at a moment.
struct LogMark {
  std::string file;  // the one written to last
  std::uint64_t bytes = 0;
};

// Blocks for as long as the disk does.
LogMark mark_log(const std::string& directory);
// The last FATAL or PANIC line behind the mark, without its prefix, 64 KiB back at most; empty when
// there is none. Refusals of clients don't count.
std::string complaint_since(const std::string& directory, const LogMark& mark);
std::string last_complaint(std::string_view log);

}  // namespace pgsteady::pg
