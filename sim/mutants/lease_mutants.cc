// Renewal, deadline, taking over, the guardian.
#include "sim/mutants/mutants.h"

namespace pgsteady::sim {
namespace {

using lease::Duration;
using lease::Instant;

Mutation extending(std::function<Instant(Instant deadline, Instant now, Duration ttl)> how) {
  Mutation mutation;
  mutation.before_extend = [how = std::move(how)](Instant& deadline, Instant now, Duration ttl) {
    deadline = how(deadline, now, ttl);
  };
  return mutation;
}

Mutation polling(std::function<void(lease::LeasePoll& poll)> how) {
  Mutation mutation;
  mutation.before_polled = std::move(how);
  return mutation;
}

void taken_on_any_delete(core::Observation&, core::State& state) {
  if (state.takeover.gone()) state.takeover.released();
}

// Whoever finds his name in the key believes that he put it there.
void any_key_of_my_name_is_mine(core::Observation& seen, core::State&) {
  const auto& leader = seen.dcs.cluster.leader;
  if (leader) seen.remembered = lease::Epoch{leader->lease, leader->mod_revision};
}

// The answer was lost, but it will have happened.
void unanswered_is_done(core::Observation& seen, core::State&) {
  for (auto& end : seen.txn_ends) {
    if (end.answered || end.lease_gone || end.kind != core::TxnKind::acquire) continue;
    end.answered = end.succeeded = true;
    end.revision = seen.dcs.cluster.revision + 1;
  }
}

Mutation promoting_unarmed() {
  Mutation mutation;
  mutation.promotes_unarmed = true;
  return mutation;
}

}  // namespace

std::vector<Mutant> lease_mutants() {
  return {
      {"fed_past_the_lease", "the watchdog may wait as long as ever when the lease is nearly over",
       "watchdog 1"},
      {"keepalive_alone_counts", "KeepAlives count without a look at the leader key",
       "deleted_unnoticed 1"},
      {"terms_mixed", "a check proves a KeepAlive that another etcd leader confirmed",
       "deposed_leader_confirms 1"},
      {"unanswered_acquisition_held",
       "the lock is held although the answer was lost and no check "
       "has found it",
       "lost_acquisition 2", seeing(unanswered_is_done)},
      {"released_before_stop", "SIGTERM releases the lock before the server has stopped",
       "stop_answered_late 2"},
      {"any_check_proves", "a check proves KeepAlives that were sent after it",
       "deleted_unnoticed 1"},
      {"answer_credited_to_newest", "a KeepAlive's answer counts for the newest request",
       "slow_answers_hung_keepalives 1"},
      {"deadline_from_the_answer", "the lease is reckoned from when the answer came",
       "slow_answers 1",
       extending([](Instant, Instant now, Duration ttl) { return lease::deadline(now, ttl); })},
      {"no_margin", "the deadline is the lease's very end", "slow_answers 1",
       extending(
           [](Instant deadline, Instant, Duration ttl) { return deadline + lease::margin(ttl); })},
      {"no_margin_for_clocks", "clocks are taken to run at one rate", "slow_clock 1",
       extending([](Instant deadline, Instant, Duration ttl) { return deadline + ttl / 10; })},
      {"guardian_ignores_deadline", "the guardian leaves fencing to the agent",
       "frozen_agent_cut 1"},
      {"reaped_too_early", "a killed server counts as gone while processes of it live",
       "broken_start 1"},
      {"taken_on_any_delete", "a leader key that is gone may be taken at once",
       "key_by_hand 11 key_by_hand 14", seeing(taken_on_any_delete)},
      {"polls_rounded_up", "remaining seconds are not taken as rounded down", "all_stopped 1",
       polling([](lease::LeasePoll& poll) { poll.remaining_seconds -= 1; })},
      {"acquired_without_compare", "the lock is taken without looking whether it is free",
       "slow_candidate 1", uncompared(core::TxnKind::acquire)},
      {"readopted_without_compare", "a lock is taken up again even if it has changed hands",
       "slow_return 1", uncompared(core::TxnKind::readopt)},
      {"own_name_readopted", "a leader key with one's own name is taken up, whoever wrote it",
       "key_by_hand 1", seeing(any_key_of_my_name_is_mine)},
      {"unarmed_primary_not_fenced", "a server that was promoted by hand is left alone",
       "promoted_by_hand 1", without<core::Fence>()},
      {"epoch_never_disarmed", "the epoch is not closed when the server has stopped",
       "broken_start 1", without<core::Disarm>()},
      {"armed_after_promotion", "a deadline is armed when the server has been promoted",
       "promoter_hangs 1", promoting_unarmed()},
      {"promoted_without_arming", "no deadline is armed before a promotion", "all_stopped 1",
       without<core::Arm>()},
  };
}

}  // namespace pgsteady::sim
