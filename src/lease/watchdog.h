// How long the kernel's watchdog device may wait for its next feed. It resets the host when that
// time is over, so this is what a host whose guardian stands still has left: less than the lease.
// Whole seconds, as devices count.
#pragma once

#include <algorithm>

#include "lease/terms.h"

namespace pgsteady::lease {

// While renewals go well. The device fires so long before a lease of this ttl ends, from the last
// feed on; at half of it when the margin is negative, or meant for a longer ttl.
constexpr int watchdog_timeout(Duration ttl, long margin_seconds) {
  auto whole = ttl / std::chrono::seconds(1);
  auto wanted = margin_seconds < 0 ? whole / 2 : whole - margin_seconds;
  if (wanted < 1 || whole < 6) wanted = whole / 2;
  constexpr long kRenewal = 3;  // a lease is renewed once a second, and that may take a while
  return static_cast<int>(std::clamp<long>(wanted, 1, std::max(1L, whole - kRenewal)));
}

// For a feed at `now` of a server armed until `deadline`: as long as `usual`, or as what is left of
// the lease, or of the promises that stand in for it. 0: it must not be fed any more.
int watchdog_timeout_at(Instant now, Instant deadline, Duration ttl, int usual);

}  // namespace pgsteady::lease
