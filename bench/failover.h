// What is measured: systems under test, faults, and one repetition of a fault.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/cluster.h"
#include "harness/watcher.h"
#include "harness/writer.h"

namespace pgsteady::bench {

using testing::Millis;

struct System {
  std::string key, title;
  testing::ClusterOptions options;
  Millis ttl;
};

// How a fault is brought about and how much of the time after it belongs to it.
struct Fault {
  std::string key, title;
  int etcd_members = 1;
  bool new_primary = false;  // the fault is over only when another node accepts writes
  bool waits_ttl = false;    // what it does may show a whole lease later
  std::function<void(testing::Cluster&, testing::Etcd&, testing::Node& leader)> inject;
  bool when_named = false;  // takes long: not without --only
};

struct Outcome {
  Millis outage{0};
  std::size_t lost = 0;        // acknowledged, not there afterwards
  std::size_t stale_acks = 0;  // acknowledged by the old primary, sent after the new one's first
  bool restarted = false;      // the leader's server is another process, or another node leads
  bool recovered = true;       // healthy again within two minutes
};

std::vector<System> systems();
std::vector<Fault> faults();

// One repetition on a healthy cluster; leaves it healthy when `recovered`.
Outcome run_once(testing::Cluster& cluster, testing::Etcd& etcd, const System& system,
                 const Fault& fault, Millis phase);

}  // namespace pgsteady::bench
