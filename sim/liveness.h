// Failsafe mode's promise: when etcd alone fails, for however long, and all members are alive and
// reach each other, the primary goes on writing.
#pragma once

#include "sim/network.h"

namespace pgsteady::sim {

class Cluster;

class Liveness {
 public:
  explicit Liveness(Cluster& cluster) : cluster_(cluster) {}

  // A fault begins (1), ends (-1), or is over at once (0).
  void fault(bool of_etcd_alone, int by);
  void look();  // now and then

 private:
  bool in_order();
  void settle();

  Cluster& cluster_;
  int faults_ = 0, etcd_faults_ = 0;
  Moment in_order_since_ = Moment::max();
  Place leader_ = -1;  // has everything that it needs to go on; -1: nobody yet
};

}  // namespace pgsteady::sim
