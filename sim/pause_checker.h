// Looks at pauses: while a node knows of one it changes nothing by itself, and a server writes with
// its fence off only while etcd says so (I8 of docs/safety.md).
#pragma once

#include "core/decide.h"
#include "sim/network.h"

namespace pgsteady::sim {

class Cluster;

class PauseChecker {
 public:
  explicit PauseChecker(Cluster& cluster) : cluster_(cluster) {}

  void decided(Place place, const core::Observation& seen, const core::Decision& decision);
  void committing(Place from, const Txn& txn);
  void acknowledged(Place place);

 private:
  bool writes_unfenced(Place place);
  bool paused();
  bool knows(const core::Observation& seen);

  Cluster& cluster_;
  std::int64_t revision_ = 0;  // of the config key that was looked at last
  bool paused_ = false;
};

}  // namespace pgsteady::sim
