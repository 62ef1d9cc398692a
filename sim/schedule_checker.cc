#include "sim/schedule_checker.h"

#include <algorithm>

#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kMostLate = seconds(5);  // or one and a half turns of the loop

const char* kBegins = "manual failover: demoting myself";
const char* kTooLate = "manual failover: found a stale value";

bool says(const core::Decision& decision, const char* what) {
  return std::any_of(decision.reasons.begin(), decision.reasons.end(),
                     [&](const core::Reason& reason) { return reason.text.starts_with(what); });
}

bool puts(const Txn& txn, const char* key) {
  return std::any_of(txn.operations.begin(), txn.operations.end(), [&](const Operation& operation) {
    return operation.what == Operation::What::put && operation.key == key;
  });
}

bool is_scheduled(const std::optional<FailoverRequest>& failover) {
  return failover && !failover->scheduled_at.empty();
}

}  // namespace

// The time is the one that etcd has: what the node saw may be what a mutant shows it.
void ScheduleChecker::decided(Place place, const core::Observation& seen,
                              const core::Decision& decision) {
  if (says(decision, kTooLate)) cluster_.world.reached("a scheduled switchover came too late");
  if (!says(decision, kBegins)) return;
  auto view = cluster_.etcd.view();
  if (!is_scheduled(view->failover)) return;
  const auto& failover = *view->failover;
  const auto& known = seen.dcs.cluster.failover;
  auto due = parse_time(failover.scheduled_at);
  if (!due || !known || known->mod_revision != failover.mod_revision) return;
  begun_ = failover.mod_revision;
  const auto& host = cluster_.host(place);
  auto late = wall_time(cluster_.world.now()) + host.wall_offset() - due->time;
  auto most = std::max<Duration>(kMostLate, seen.dcs.cluster.settings().loop_wait * 3 / 2);
  if (late >= Duration(0) && late <= most) return;
  cluster_.world.violation(fmt::format("{} begins a switchover {:.3f} s after its time",
                                       host.name(), std::chrono::duration<double>(late).count()));
}

// The release that ends it takes the request away, so that nobody carries it out again.
void ScheduleChecker::committing(const Txn& txn) {
  if (begun_ == 0 || !puts(txn, "release")) return;
  auto view = cluster_.etcd.view();
  if (!is_scheduled(view->failover) || view->failover->mod_revision != begun_) return;
  if (puts(txn, "failover"))
    return cluster_.world.reached("a scheduled switchover was carried out");
  cluster_.world.violation("a scheduled switchover was carried out, and still stands");
}

void ScheduleChecker::check_end() {
  auto view = cluster_.etcd.view();
  if (!is_scheduled(view->failover)) return;
  auto due = parse_time(view->failover->scheduled_at);
  if (due && due->time > wall_time(cluster_.world.now())) return;
  cluster_.world.violation("a switchover was scheduled for " + view->failover->scheduled_at +
                           ", and neither carried out nor refused");
}

}  // namespace pgsteady::sim
