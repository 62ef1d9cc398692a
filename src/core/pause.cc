// A pause: an operator works on the servers, and nothing is decided. The fence is off, so that a
// primary outlives etcd, its agent and its lock.
//
// What is switched off here another node has to know of, or it would promote as soon as the pause
// ends, beside a primary that has not heard of that. So a node announces unfenced/NAME in etcd
// before it switches its fence off, takes the announcement back after the fence is on again or its
// server has ended, and nobody takes the lock while another node's stands.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

std::string announcement(const Turn& turn) {
  return "unfenced/" + turn.self.name;
}

bool announced(const Turn& turn) {
  return turn.cluster().unfenced.contains(turn.self.name);
}

void announce(Turn& turn) {
  Txn txn;
  // Void when the pause has ended meanwhile, or somebody has taken the lock.
  const auto& leader = turn.cluster().leader;
  txn.compares = {
      Compare::unchanged("config", turn.cluster().config_revision),
      leader ? Compare::unchanged("leader", leader->mod_revision) : Compare::absent("leader")};
  txn.operations = {Operation::put(announcement(turn), iso_time(turn.now.wall))};
  turn.transact(TxnKind::unfenced, std::move(txn));
}

void fence_off(Turn& turn) {
  // What is under way, or has no answer, may take the announcement back: put anew it stands.
  // A pause that etcd does not tell of (any more) is nothing to begin on.
  if (!turn.fresh() || turn.in_flight(TxnKind::unfenced)) return;
  if (turn.cluster().config_kept && !turn.seen.guard.suspended) return;
  if (!announced(turn) || turn.state.unfenced_unsure) return announce(turn);
  if (turn.seen.guard.suspended) return;
  turn.say("PAUSE: the fence is off, as long as the pause lasts");
  turn.act(SwitchFence{false});
}

bool is_of_an_old_timeline(const Turn& turn) {
  const auto& history = turn.cluster().history;
  return !history.empty() && turn.seen.server.timeline < history.back().timeline + 1;
}

void demote(Turn& turn, const std::string& why) {
  turn.say(Reason::Level::warning, "the pause is over and " + why + ": demoting self");
  turn.act(Fence{"a primary without the lock, after a pause"});
  turn.act(SwitchFence{true});
}

// The pause is over while this node's server is a primary: first its deadline, then the fence.
void arm_again(Turn& turn) {
  auto& state = turn.state;
  const auto& guard = turn.seen.guard;
  if (guard.phase == ServerPhase::killing) return;
  if (!state.lock) {
    const auto& leader = turn.cluster().leader;
    bool free = !leader || leader->name == turn.self.name;
    bool known = turn.seen.server.timeline != 0;
    if (turn.fresh() && free && known && is_of_an_old_timeline(turn)) {
      return demote(turn, "the cluster has a newer timeline");
    }
    if (!turn.fresh() || free) return take_lock_anew(turn);
    return demote(turn, leader->name + " has the lock");
  }
  keep_key_on_lease(turn);
  if (!turn.proven() && !on_promises(turn)) {
    return turn.say("the pause is over; waiting for a renewal to arm the fence");
  }
  if (!turn.armed() || guard.deadline <= turn.now.boot) {
    return turn.act(Arm{*state.lock, *turn.seen.lease.held_until, turn.seen.lease.ttl});
  }
  turn.say("the pause is over; the fence is on again");
  turn.act(SwitchFence{true});
}

void without_lock(Turn& turn) {
  put_config_back(turn);
  if (turn.is_primary()) {
    const auto& leader = turn.cluster().leader;
    if (!leader || leader->name == turn.self.name) return take_lock_anew(turn);
    return turn.say(
        fmt::format("PAUSE: continue to run as primary without lock; {} has it", leader->name));
  }
  if (turn.state.returning || turn.state.restart) return rule_bring_up(turn);
  if (is_named(turn) && turn.fresh()) {
    (void)rule_no_leader(turn);
    return;
  }
  follow_in_pause(turn);
}

}  // namespace

// True when the fence is on and etcd does not say otherwise.
bool rule_fence_on(Turn& turn) {
  if (turn.seen.guard.suspended) {
    turn.act(SwitchFence{true});
    return false;
  }
  if (!announced(turn)) return true;
  Txn txn;
  txn.compares = {
      Compare::unchanged(announcement(turn), turn.cluster().unfenced.at(turn.self.name))};
  txn.operations = {Operation::remove(announcement(turn))};
  if (turn.fresh()) turn.transact(TxnKind::unfenced, std::move(txn));
  return false;
}

// A primary whose lock was lost in a pause takes it again. Its own last epoch needs no waiting:
// nobody but this server wrote under it.
void take_lock_anew(Turn& turn) {
  if (!turn.fresh() || turn.seen.lease.lease == 0) return;
  if (auto names = unfenced_others(turn); !names.empty()) {
    return turn.say(names + " may be a primary as well: not taking the lock");
  }
  if (rule_leader_key_is_mine(turn) || turn.cluster().leader) return;
  if (is_of_an_old_timeline(turn)) {
    return turn.say(fmt::format("this primary's timeline {} is behind the cluster's {}",
                                turn.seen.server.timeline,
                                turn.cluster().history.back().timeline + 1));
  }
  auto safe_at = turn.state.takeover.safe_at();
  bool own = turn.seen.remembered == turn.state.takeover.key();
  if (!own && safe_at && turn.now.boot < *safe_at) return turn.wake_at(*safe_at);
  turn.say("taking the lock again: a primary runs here and nobody holds it");
  acquire(turn);
}

bool rule_pause(Turn& turn) {
  if (!turn.paused()) {
    if (turn.seen.guard.suspended && turn.may_write()) {
      rule_lost_lock(turn);
      if (rule_stop_requested(turn)) return true;
      rule_lease(turn);
      arm_again(turn);
      return true;
    }
    (void)rule_fence_on(turn);
    return false;
  }
  rule_lost_lock(turn);
  if (rule_stop_requested(turn)) return true;
  rule_lease(turn);
  if (turn.may_write()) {
    fence_off(turn);
  } else if (!turn.busy()) {
    (void)rule_fence_on(turn);
  }
  if (rule_restart(turn) || rule_reinitialize(turn)) return true;
  if (turn.state.lock) {
    keep_lock_in_pause(turn);
  } else {
    turn.state.handing_over = false;
    if (turn.seen.dcs.asked) without_lock(turn);
  }
  return true;
}

// Others whose fence may be off although the pause is over: nobody may take the lock beside them.
std::string unfenced_others(const Turn& turn) {
  std::string names;
  for (const auto& [name, revision] : turn.cluster().unfenced) {
    if (name != turn.self.name) names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

}  // namespace pgsteady::core
