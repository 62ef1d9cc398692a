// The two clocks of a node. Only code outside lease/ and core/ may read them; those two are handed
// the time.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace pgsteady {

// CLOCK_BOOTTIME: never set back, goes on while the machine sleeps. For all deadlines.
std::chrono::nanoseconds boottime_now();

using WallTime = std::chrono::system_clock::time_point;  // for people and for stored time stamps

// "2026-11-22T14:03:00.123456+00:00", as Patroni writes times into etcd.
std::string iso_time(WallTime time);

// A time that somebody wrote: ISO 8601 with a date and a time of day, "T" or a blank between them,
// seconds and their fraction optional, then "Z", "UTC" or an offset ("+01:00", "+0100", "+01").
// nullopt when it is none of that.
struct WrittenTime {
  WallTime time;
  bool has_zone = false;  // false: taken as UTC, though it may have been meant otherwise
};
std::optional<WrittenTime> parse_time(std::string_view text);

}  // namespace pgsteady
