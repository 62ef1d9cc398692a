// The two clocks of a node. Only code outside lease/ and core/ may read them; those two are handed
// the time.
#pragma once

#include <chrono>
#include <string>

namespace pgsteady {

// CLOCK_BOOTTIME: never set back, goes on while the machine sleeps. For all deadlines.
std::chrono::nanoseconds boottime_now();

using WallTime = std::chrono::system_clock::time_point;  // for people and for stored time stamps

// "2026-11-22T14:03:00.123456+00:00", as Patroni writes times into etcd.
std::string iso_time(WallTime time);

}  // namespace pgsteady
