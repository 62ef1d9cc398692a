// Switchovers for a later time.
#include "sim/mutants/mutants.h"

namespace pgsteady::sim {
namespace {

void schedule_ignored(core::Observation& seen, core::State&) {
  auto& failover = seen.dcs.cluster.failover;
  if (failover) failover->scheduled_at.clear();
}

Mutation changing(core::TxnKind kind, std::function<bool(Txn& txn)> how) {
  Mutation mutation;
  mutation.before_action = [kind, how = std::move(how)](core::Action& action) {
    auto* transact = std::get_if<core::Transact>(&action);
    return !transact || transact->kind != kind || how(transact->txn);
  };
  return mutation;
}

bool without_failover_key(Txn& txn) {
  std::erase_if(txn.operations,
                [](const Operation& operation) { return operation.key == "failover"; });
  return true;
}

}  // namespace

std::vector<Mutant> schedule_mutants() {
  return {
      {"schedule_ignored", "a scheduled switchover is carried out at once", "scheduled 1",
       seeing(schedule_ignored)},
      {"schedule_never_stale", "a scheduled switchover is carried out however late it is",
       "scheduled_in_vain 1"},
      {"schedule_carried_out_twice", "a switchover that was carried out stays scheduled",
       "scheduled 1", changing(core::TxnKind::release, without_failover_key)},
      {"schedule_never_refused", "a switchover that nobody can carry out stays scheduled",
       "scheduled_in_vain 1", changing(core::TxnKind::clear_failover, [](Txn&) { return false; })},
  };
}

}  // namespace pgsteady::sim
