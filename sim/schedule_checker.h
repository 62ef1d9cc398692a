// Looks at scheduled switchovers: each is carried out when its time has come, by the clock of who
// leads then, or is refused, and none is left over.
#pragma once

#include "core/decide.h"
#include "sim/network.h"

namespace pgsteady::sim {

class Cluster;

class ScheduleChecker {
 public:
  explicit ScheduleChecker(Cluster& cluster) : cluster_(cluster) {}

  void decided(Place place, const core::Observation& seen, const core::Decision& decision);
  void committing(const Txn& txn);
  void check_end();  // when everybody has had the time for what was due

 private:
  Cluster& cluster_;
  std::int64_t begun_ = 0;  // revision of the last one that a leader began to carry out
};

}  // namespace pgsteady::sim
