// The figures that safety rests on, in one place. docs/safety.md has the argument.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

#include "lease/time.h"

namespace pgsteady::lease {

// One holding of the leader key: the lease it hangs on, and the revision that put it there. A later
// holding has a higher mod revision, in the whole cluster, so epochs are ordered.
struct Epoch {
  std::int64_t lease = 0;
  std::int64_t mod_revision = 0;

  bool operator==(const Epoch&) const = default;
  bool valid() const { return lease != 0 && mod_revision != 0; }
};

// What is left unused at the end of a lease: 10 % of the ttl, because a clock may be slewed by 8 %
// against etcd's, and 0.3 s, in which the guardian kills and reaps (0.21 s measured with 200 busy
// backends on two cores).
constexpr Duration margin(Duration ttl) {
  return ttl / 10 + std::chrono::milliseconds(300);
}

// The last moment at which a server armed by a renewal sent at `sent` may run as a primary.
constexpr Instant deadline(Instant sent, Duration granted_ttl) {
  return sent + granted_ttl - margin(granted_ttl);
}

// How often a lease is renewed that holds the leader key.
constexpr Duration renewal_interval(Duration ttl) {
  return std::min<Duration>(ttl / 3, std::chrono::seconds(1));
}

// And one that holds a member key only: as it is renewed at once when it gets the leader key, half
// of that is enough.
constexpr Duration idle_renewal_interval(Duration ttl) {
  return renewal_interval(ttl) * 2;
}

// A lease is renewed only while the agent shows signs of life: its loop has turned no longer ago
// than this, nor has the guardian left an extension unanswered for longer.
constexpr Duration kUnarmedPatience = std::chrono::seconds(10);
constexpr Duration armed_patience(Duration ttl) {
  return std::max<Duration>(std::chrono::seconds(1), ttl * 2 / 5);
}

// How often the loop shows them.
constexpr Duration heartbeat_interval(Duration patience) {
  return std::min<Duration>(std::chrono::seconds(1), patience / 2);
}

}  // namespace pgsteady::lease
