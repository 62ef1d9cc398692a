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
// FATAL and PANIC lines without their prefix; empty when there is none. Refusals of clients don't
// count.
struct Complaints {
  std::string last;
  // The last in which the upstream server denied a walreceiver WAL or history, for another reason
  // than a slot that it has yet to make; and where in the log it stands.
  std::string refusal;
  std::uint64_t refused_at = 0;
};

// Behind the mark, 64 KiB back at most. Blocks for as long as the disk does.
Complaints complaints_since(const std::string& directory, const LogMark& mark);
Complaints complaints_in(std::string_view log);

}  // namespace pgsteady::pg
