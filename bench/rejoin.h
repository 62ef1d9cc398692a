// How soon an old primary with WAL of its own is a streaming replica again.
#pragma once

#include <optional>

#include "harness/cluster.h"

namespace pgsteady::bench {

// One repetition on a healthy cluster: 100 rows reach the primary alone, all of its node is killed,
// another one takes over, and the node is started again. The time from then until it streams from
// the new primary; nullopt: not within two minutes.
std::optional<testing::Millis> rejoin_once(testing::Cluster& cluster);

}  // namespace pgsteady::bench
