#include "core/decide.h"

#include "core/turn.h"

namespace pgsteady::core {
namespace {

// Top to bottom, the first rule that settles the matter ends the turn.
void apply_rules(Turn& turn) {
  absorb(turn);
  take_over_from_guardian(turn);
  if (rule_twin(turn)) return;
  duty_requests(turn);
  duty_scheduled_restart(turn);
  if (rule_pause(turn)) return;
  rule_lost_lock(turn);
  if (rule_unarmed_primary(turn)) return;
  if (rule_deadline_near(turn)) return;
  if (rule_disarm(turn)) return;
  if (rule_stop_requested(turn)) return;
  rule_lease(turn);
  if (rule_restart(turn) || rule_reinitialize(turn)) return;
  if (rule_has_lock(turn)) return;
  if (!turn.seen.dcs.asked) return;
  if (!turn.seen.dcs.reachable) return rule_no_dcs(turn);
  if (!turn.fresh()) return;  // our own write is not in what we read yet
  duty_waiting_rewind(turn);
  if (rule_foreign_system(turn)) return;
  if (rule_leader_key_is_mine(turn)) return;
  if (rule_bootstrap(turn)) return;
  if (rule_no_leader(turn)) return;
  rule_stale_leader(turn);
  rule_follow(turn);
}

}  // namespace

void Backoff::failed(lease::Instant now) {
  auto wait = seconds(1) * (1 << std::min(failures, 5));
  failures += 1;
  until = now + std::min<lease::Duration>(wait, seconds(30));
}

Decision decide(const State& state, const Identity& self, const Observation& seen, Time now) {
  Decision out;
  out.state = state;
  Turn turn(self, seen, now, out);
  out.next_wake = now.boot + turn.settings().loop_wait;
  if (!state.begun) {
    out.state.began_at = now.boot;
    out.state.unfenced_unsure = true;
  }
  apply_rules(turn);
  drop_promises(turn);
  forget_sync(turn);
  publish(turn);
  out.member_state = member_state(turn);
  out.unfit = is_unfit(turn) || seen.guard.watchdog_failed;
  if (seen.dcs.reachable && turn.old_read()) out.read_now = true;
  out.state.begun = true;
  return out;
}

}  // namespace pgsteady::core
