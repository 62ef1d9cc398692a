// Time as the lease arithmetic sees it: a point on CLOCK_BOOTTIME, handed in by the caller. There
// is no now() here, so that nothing in this folder can read a clock.
#pragma once

#include <chrono>

namespace pgsteady::lease {

struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};

using Instant = BootClock::time_point;
using Duration = BootClock::duration;

}  // namespace pgsteady::lease
