// The agent's part in failsafe mode: what it asks of others, what it promises them, and that it
// keeps its word. As src/agent/failsafe.cc and src/api/failsafe.cc.
#include <algorithm>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {

bool Agent::act(const core::AskPromises& a) {
  host_.disk().failsafe_task = a.task;
  ask_for(a.task);
  return true;
}

void Agent::ask_for(const std::optional<core::FailsafeTask>& task) {
  if (!task && !asker_epoch_.valid()) return;
  asker_epoch_ = task ? task->epoch : lease::Epoch{};
  asker_.task(task);
}

// Posted by the asking thread to the loop.
void Agent::on_promises(const core::FailsafeFacts& facts) {
  world_.after(microseconds(10), &host_.agent_actor(), [this, facts] {
    bool first = facts.held_until.has_value() != seen_.failsafe.held_until.has_value();
    seen_.failsafe = facts;
    if (first) wake();
  });
}

// After each decision, before anything of it is carried out.
void Agent::tell_promises() {
  if (!state_.lock) ask_for(std::nullopt);
  const auto& going = seen_.transactions;
  lease::Promiser::Standing standing;
  standing.leads = state_.lock || seen_.guard.armed.valid() || seen_.server.is_primary() ||
                   std::any_of(going.begin(), going.end(), core::takes_lock);
  standing.leader_key = state_.takeover.key();
  standing.unsure_until = state_.unsure_until;
  promiser_.decided(standing);
  failsafe_mode_ = seen_.dcs.cluster.settings().failsafe_mode;
}

bool Agent::may_send(core::TxnKind kind) {
  if (!core::takes_lock(kind) || promiser_.begin_taking(seen_.promise)) return true;
  wake();
  return false;
}

// Another thread answers, from what the loop last decided.
std::optional<Duration> Agent::asked_for_promise(const MemberName& leader,
                                                 const lease::Epoch& epoch, Duration length) {
  if (!failsafe_mode_) return std::nullopt;
  auto answer = promiser_.ask(leader, epoch, length, host_.now());
  world_.mix(static_cast<std::uint64_t>(answer));
  if (answer != lease::Promiser::Answer::promised) return std::nullopt;
  // Told in whole milliseconds.
  return std::chrono::duration_cast<milliseconds>(length);
}

}  // namespace pgsteady::sim
