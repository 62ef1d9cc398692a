#include "sim/liveness.h"

#include <algorithm>

#include "sim/cluster.h"

namespace pgsteady::sim {

void Liveness::fault(bool of_etcd_alone, int by) {
  (of_etcd_alone ? etcd_faults_ : faults_) += by;
  in_order_since_ = Moment::max();
  if (!of_etcd_alone) leader_ = -1;
}

// Nothing fails, the key names everybody and nobody who was removed, and somebody knew the
// configuration when its key was deleted.
bool Liveness::in_order() {
  if (faults_ > 0 || etcd_faults_ > 0 || !cluster_.etcd.available()) return false;
  if (!cluster_.etcd.find("failsafe") || !cluster_.converged()) return false;
  const auto view = cluster_.etcd.view();
  const auto& settings = view->settings();
  bool leader_will_change = view->failover.has_value();  // when its time has come
  return view->config && settings.failsafe_mode && !settings.pause && !leader_will_change &&
         cluster_.lists_everybody();
}

// All of that has lasted long enough for the leader to know.
void Liveness::settle() {
  auto now = cluster_.world.now();
  if (!in_order()) {
    in_order_since_ = Moment::max();
    return;
  }
  in_order_since_ = std::min(in_order_since_, now);
  auto long_enough = seconds(10) + 2 * milliseconds(cluster_.settings.loop_wait_ms);
  if (now - in_order_since_ > long_enough) leader_ = cluster_.primary();
}

void Liveness::look() {
  if (!cluster_.settings.failsafe || faults_ > 0) return;
  if (leader_ < 0) return settle();
  if (!cluster_.etcd.available()) cluster_.world.reached("etcd failed alone, and writes went on");
  if (cluster_.host(leader_).server().can_acknowledge()) return;
  cluster_.world.violation(fmt::format("nothing but etcd has failed, and {} writes no more",
                                       cluster_.host(leader_).name()));
}

}  // namespace pgsteady::sim
