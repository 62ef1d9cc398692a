// What a cluster costs that has nothing to do.
#pragma once

#include <string>

#include "harness/cluster.h"

namespace pgsteady::bench {

struct Idle {
  double agent_pss_mb = 0, guardian_pss_mb = 0;  // the largest over all nodes
  double agent_cpu_percent = 0;                  // of one core, the largest over all nodes
  double proposals_per_minute = 0;               // raft proposals committed in etcd
  double guardian_cpu_percent = 0;
};

// Watches a healthy cluster for `span`, without touching it.
Idle measure_idle(testing::Cluster& cluster, testing::Etcd& etcd, testing::Millis span);

}  // namespace pgsteady::bench
