// Failsafe mode and pauses.
#include <algorithm>

#include "sim/mutants/mutants.h"

namespace pgsteady::sim {
namespace {

using core::Decision;
using core::Observation;
using core::State;
using core::SwitchFence;
using core::Transact;

bool is_standby(const Observation& seen) {
  return seen.server.state == ServerState::running && seen.server.in_recovery;
}

// The pause is over, the fence not on again yet.
bool resuming(const Observation& seen) {
  return seen.guard.suspended && seen.dcs.read_at && !seen.dcs.cluster.settings().pause;
}

template <typename Kind>
bool is_a(const core::Action& action) {
  return std::holds_alternative<Kind>(action);
}

bool is_txn(const core::Action& action, core::TxnKind kind) {
  const auto* transact = std::get_if<Transact>(&action);
  return transact && transact->kind == kind;
}

// --- promises ------------------------------------------------------------------------------------

void promise_forgotten(Observation&, State& state) {
  state.began_at = {};
}

void promises_not_remembered(Observation& seen, State&) {
  seen.remembered_task.reset();
}

void unlisted_takes_lock(Observation& seen, State& state) {
  if (!state.lock) seen.dcs.cluster.failsafe.reset();
}

// Whoever is not in the key yet is not asked.
void listed_before_asked(const Observation& seen, const State&, Decision& decided) {
  const auto& list = seen.dcs.cluster.failsafe;
  auto prune = [&](std::optional<core::FailsafeTask>& task) {
    if (!task || !list || !seen.dcs.reachable) return;
    std::erase_if(task->others, [&](const auto& other) { return !list->count(other.first); });
  };
  decided.state.failsafe.written.clear();
  prune(decided.state.failsafe.task);
  for (auto& action : decided.actions) {
    if (auto* ask = std::get_if<core::AskPromises>(&action)) prune(ask->task);
  }
}

Mutation lock_not_taken_back() {
  Mutation mutation;
  mutation.before_action = [](core::Action& action) {
    return !is_txn(action, core::TxnKind::retake);
  };
  return mutation;
}

// --- pauses --------------------------------------------------------------------------------------

void unfenced_before_announced(const Observation& seen, const State&, Decision& decided) {
  bool announces = std::any_of(
      decided.actions.begin(), decided.actions.end(),
      [](const core::Action& action) { return is_txn(action, core::TxnKind::unfenced); });
  bool paused = seen.dcs.read_at && seen.dcs.cluster.settings().pause;
  if (announces && paused) decided.actions.insert(decided.actions.begin(), SwitchFence{false});
}

void taken_beside_unfenced(Observation& seen, State&) {
  if (is_standby(seen)) seen.dcs.cluster.unfenced.clear();
}

void fence_on_with_old_deadline(const Observation& seen, const State&, Decision& decided) {
  if (!resuming(seen)) return;
  for (auto& action : decided.actions) {
    if (is_a<core::Arm>(action)) action = SwitchFence{true};
  }
}

// It waits for a renewal, also when none can come.
void stuck_after_pause(const Observation& seen, const State&, Decision& decided) {
  if (!resuming(seen) || !decided.state.lock) return;
  if (seen.lease.epoch == decided.state.lock && seen.lease.held_until) return;
  std::erase_if(decided.actions, [](const core::Action& action) {
    return is_a<SwitchFence>(action) || is_txn(action, core::TxnKind::retake);
  });
}

void standby_unpaused(Observation& seen, State&) {
  if (is_standby(seen) && seen.dcs.cluster.config) seen.dcs.cluster.config->pause = false;
}

void stopped_unpaused(Observation& seen, State&) {
  bool stopped = seen.guard.phase == core::ServerPhase::none;
  if (stopped && seen.dcs.cluster.config) seen.dcs.cluster.config->pause = false;
}

Mutation fence_never_off() {
  Mutation mutation;
  mutation.before_asked = [](lease::Request& request) {
    return request.kind != lease::Request::Kind::suspend;
  };
  return mutation;
}

}  // namespace

std::vector<Mutant> promise_mutants() {
  return {
      {"promise_not_kept", "who has promised takes the lock all the same", "promises_end 1"},
      {"promise_forgotten", "an agent that starts thinks that the one before it promised nothing",
       "promises_forgotten 1", seeing(promise_forgotten)},
      {"one_promise_missing", "the promises of all but one suffice", "etcd_and_member_gone 1"},
      {"unlisted_takes_lock", "a node that the failsafe key does not name races like any other",
       "vanished_member 1", seeing(unlisted_takes_lock)},
      {"listed_before_asked", "a name is put into the list before it is asked", "new_member 1",
       deciding(listed_before_asked)},
      {"lock_not_taken_back", "a lock that etcd let go is waited for instead of taken back",
       "etcd_stands_still 1", lock_not_taken_back()},
      {"promises_not_remembered", "an agent that starts without etcd asks nobody",
       "agent_killed_without_etcd 1", seeing(promises_not_remembered)},
      {"unfenced_before_announced", "the fence is off before etcd says so", "pause_on_slow_link 1",
       deciding(unfenced_before_announced)},
      {"taken_beside_unfenced", "the lock is taken beside another's fence that may be off",
       "pause_ends_unheard 1", seeing(taken_beside_unfenced)},
      {"fence_on_with_old_deadline", "after a pause the fence is on before the deadline is new",
       "pause_ends_unheard 1", deciding(fence_on_with_old_deadline)},
      {"stuck_after_pause", "a primary on promises waits for a renewal when the pause is over",
       "pause_ends_on_promises 1", deciding(stuck_after_pause)},
      {"standby_unpaused", "a standby takes no notice of a pause", "server_dies_in_pause 1",
       seeing(standby_unpaused)},
      {"stopped_unpaused", "a dead server is started in a pause", "server_dies_in_pause 1",
       seeing(stopped_unpaused)},
      {"fence_never_off", "the guardian acts on deadlines in a pause", "pause_outlives_etcd 1",
       fence_never_off()},
  };
}

}  // namespace pgsteady::sim
