// Holding the lock: prove it, arm, serve, keep.
#include "core/ancestry.h"
#include "core/turn.h"

namespace pgsteady::core {
namespace {

// Nothing runs. The epoch is closed first, so that the release holds whatever happens to this
// agent.
void give_up_lock(Turn& turn, const std::string& why) {
  auto& state = turn.state;
  if (!state.giving_up) turn.say(Reason::Level::warning, "releasing the leader key: " + why);
  state.giving_up = true;
  if (turn.seen.guard.armed.valid()) return turn.act(Disarm{turn.seen.guard.armed});
  ReleaseNote note;
  note.leader = turn.self.name;
  note.leader_revision = state.lock->mod_revision;
  Txn txn;
  txn.compares = {Compare::unchanged("leader", state.lock->mod_revision)};
  txn.operations = {Operation::remove("leader"), Operation::put("release", release_to_json(note))};
  turn.transact(TxnKind::give_up, std::move(txn));
}

void start_with_lock(Turn& turn) {
  auto& state = turn.state;
  const auto& server = turn.seen.server;
  if (turn.busy()) return;
  if (server.data == DataDirectory::unknown || !server.control) {
    turn.out.measure_now = true;
    if (server.data == DataDirectory::empty) give_up_lock(turn, "the data directory is empty");
    return;
  }
  if (server.data != DataDirectory::valid || (turn.seen.interrupted_job && !state.bootstrapping)) {
    give_up_lock(turn, "the data directory is not whole");
    return;
  }
  if (state.start.failures >= kStartAttempts && others_could_lead(turn)) {
    give_up_lock(turn, "PostgreSQL does not start");
    return;
  }
  if (state.start.waits(turn.now.boot)) return turn.wake_at(state.start.until);
  bool as_primary = starts_as_primary(turn);
  turn.say(as_primary ? "starting as the primary because I have the session lock"
                      : "starting in recovery because I have the session lock");
  if (as_primary && !recall_sync(turn)) return;
  state.starting_since = turn.now.boot;
  state.starting = true;
  state.upstream.reset();
  turn.act(StartServer{as_primary, std::nullopt});
}

void watch_start(Turn& turn) {
  auto& state = turn.state;
  if (!state.starting_since) state.starting_since = turn.now.boot;
  auto limit = *state.starting_since + turn.settings().primary_start_timeout;
  turn.say(fmt::format("PostgreSQL is still starting up, {} s until timeout",
                       std::max<long long>(0, (limit - turn.now.boot) / seconds(1))));
  turn.wake_at(limit);
  if (turn.now.boot < limit || !others_could_lead(turn) || MUTANT(slow_start_leads_on)) return;
  give_way(turn, "the primary took too long to start");
}

void duty_status(Turn& turn) {
  auto status = turn.cluster().status.value_or(ClusterStatus{});
  status.optime = turn.seen.server.write_lsn;
  auto json = status_to_json(status);
  // Each holder of the lock writes its own, so that an earlier one's can be told.
  bool is_ours = turn.cluster().status_revision > turn.state.lock->mod_revision;
  if ((json == turn.state.status_written && is_ours) || !turn.fresh()) return;
  if (turn.now.boot - turn.state.status_written_at < milliseconds(900)) return;
  if (!turn.may_transact(TxnKind::status)) return;
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.state.lock->mod_revision)};
  txn.operations = {Operation::put("status", json)};
  turn.state.status_written = json;
  turn.state.status_written_at = turn.now.boot;
  turn.transact(TxnKind::status, std::move(txn));
}

// Timelines that this server passed over, since they exist somewhere else, gave nothing to its own.
std::vector<TimelineSwitch> without_gap(std::vector<TimelineSwitch> lines, Timeline own) {
  while (lines.back().timeline + 1 < own && lines.size() < 1000) {
    TimelineSwitch passed_over = lines.back();
    passed_over.timeline += 1;
    passed_over.reason = kPassedOver;
    lines.push_back(passed_over);
  }
  return lines;
}

lease::Duration promotion_limit(const Turn& turn) {
  return std::max<lease::Duration>(turn.settings().primary_start_timeout, seconds(10));
}

// True while no number is reserved for this promotion: the lock was taken by an earlier agent of
// this node, or in a transaction whose answer was lost; or the reserved timeline was made already.
bool rule_timeline_first(Turn& turn) {
  if (turn.state.reserved_timeline > turn.seen.server.timeline) return false;
  if (!turn.fresh() || !turn.may_transact(TxnKind::reserve)) return true;
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.state.lock->mod_revision)};
  reserve_timeline(turn, txn);
  turn.transact(TxnKind::reserve, std::move(txn));
  return true;
}

void promote(Turn& turn) {
  if (rule_sync_key_first(turn) || rule_timeline_first(turn)) return;
  turn.say("promoted self to leader by acquiring session lock");
  turn.act(Promote{*turn.state.lock, promotion_limit(turn), turn.state.reserved_timeline - 1});
}

// The history key repeats the server's own history file, with the reason and the leader added to
// the line that is new.
void duty_history(Turn& turn) {
  const auto& ours = turn.seen.server.history;
  const auto& known = turn.cluster().history;
  if (!turn.fresh() || ours.empty()) return;
  auto lines = without_gap(ours, turn.seen.server.timeline);
  if (!known.empty() && known.back().timeline == lines.back().timeline &&
      known.back().end == lines.back().end) {
    return;
  }
  for (auto& line : lines) {
    auto old = std::find_if(known.begin(), known.end(), [&](const TimelineSwitch& k) {
      return k.timeline == line.timeline && k.end == line.end;
    });
    if (old != known.end()) line = *old;
  }
  if (lines.back().new_leader.empty()) {
    lines.back().time = iso_time(turn.now.wall);
    lines.back().new_leader = turn.self.name;
  }
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.state.lock->mod_revision)};
  txn.operations = {Operation::put("history", history_to_json(lines))};
  turn.transact(TxnKind::history, std::move(txn));
}

void duty_configuration(Turn& turn) {
  if (!turn.fresh() || turn.busy() || turn.state.bootstrapping) return;
  const auto& cluster = turn.cluster();
  if (turn.state.applied_config == cluster.config_revision || cluster.config_kept) return;
  if (!know_sync(turn)) return;
  turn.state.applied_config = turn.cluster().config_revision;
  turn.act(Reconfigure{std::nullopt});
}

// A rewind reads this server's control file, which tells the new timeline only after a checkpoint.
// A new agent finds it done: another checkpoint would only slow the clients down.
void duty_checkpoint(Turn& turn) {
  const auto& server = turn.seen.server;
  if (server.timeline == 0 || turn.state.checkpointed == server.timeline) return;
  turn.state.checkpointed = server.timeline;
  bool told = server.control && server.control->timeline == server.timeline;
  if (server.timeline > 1 && !told) turn.act(Checkpoint{});
}

void keep(Turn& turn) {
  turn.state.starting_since.reset();
  if (turn.fresh() && turn.leader_is_me()) {
    turn.state.newest_reserved = turn.cluster().reserved_timeline;
  }
  turn.state.upstream.reset();
  duty_finish_bootstrap(turn);
  duty_checkpoint(turn);
  duty_history(turn);
  duty_status(turn);
  duty_slots(turn);
  if (turn.leader_is_me()) put_config_back(turn);
  duty_configuration(turn);
  duty_sync(turn);
  turn.say(fmt::format("no action. I am ({}), the leader with the lock", turn.self.name));
}

}  // namespace

// The leader key has to hang on the lease that is renewed. One that etcd let go while all others
// kept their promises is taken back.
void keep_key_on_lease(Turn& turn) {
  const auto& lease = turn.seen.lease;
  bool gone = turn.fresh() && !turn.cluster().leader && on_promises(turn);
  if (lease.lease == 0 || (lease.lease == turn.state.lock->lease && !gone)) return;
  if (!turn.fresh()) return;
  Txn txn;
  txn.compares = {gone ? Compare::absent("leader")
                       : Compare::unchanged("leader", turn.state.lock->mod_revision)};
  txn.operations = {Operation::put("leader", turn.self.name, lease.lease)};
  turn.transact(gone ? TxnKind::retake : TxnKind::readopt, std::move(txn));
}

constexpr auto kBetweenLeases = seconds(1);

// A lease's length is fixed when it is granted: another ttl needs another lease.
void rule_lease(Turn& turn) {
  auto& state = turn.state;
  if (!turn.seen.dcs.read_at || turn.seen.lease_request) return;
  const auto& lease = turn.seen.lease;
  bool gone = lease.lease == 0 || lease.state == lease::Renewal::State::lease_lost;
  lease::Duration ttl =
      turn.cluster().config ? lease::Duration(turn.settings().ttl) : turn.self.bootstrap_ttl;
  if (state.asking && lease.lease != 0 && lease.lease != state.asking->before) {
    state.asked_ttl = state.asking->ttl;
  }
  state.asking.reset();
  if (state.asked_ttl.count() == 0 && !gone) state.asked_ttl = lease.ttl;  // taken over
  bool other_ttl = !gone && turn.fresh() && ttl != state.asked_ttl;
  if (gone ? state.lock && !on_promises(turn) : !other_ttl) return;
  if (other_ttl) turn.say(fmt::format("ttl is {} s now: taking a new lease", ttl / seconds(1)));
  // A deposed member of etcd may call each new lease gone.
  auto again = state.lease_asked_at + kBetweenLeases;
  if (turn.now.boot < again) return turn.wake_at(again);
  state.lease_asked_at = turn.now.boot;
  state.asking = {lease.lease, ttl};
  turn.act(GrantLease{ttl});
}

bool rule_has_lock(Turn& turn) {
  auto& state = turn.state;
  if (!state.lock) state.handing_over = false;
  if (!state.lock) return false;
  const auto& lease = turn.seen.lease;
  if (turn.seen.guard.phase == ServerPhase::killing) {
    watch_reaping(turn);
    return true;
  }
  state.killing_since.reset();
  bool stopped = turn.seen.guard.phase == ServerPhase::none;
  if (stopped && is_unfit(turn) && others_could_lead(turn)) {
    give_up_lock(turn, "this node gives way to another");
    return true;
  }
  if (rule_blind_leader(turn)) {
    give_up_lock(turn, "the data directory cannot be read");
    return true;
  }
  if (state.giving_up) {
    give_up_lock(turn, "");
    return true;
  }
  if (rule_hand_over(turn)) return true;
  keep_key_on_lease(turn);
  // An epoch taken over from an earlier agent proves itself anew before anything new comes of it.
  bool proven = turn.proven();
  if (turn.seen.guard.watchdog_failed && !turn.seen.guard.armed.valid()) {
    give_up_lock(turn, "the watchdog is required and does not work");
    return true;
  }
  bool promoted_first = MUTANT(armed_after_promotion) && turn.is_standby();
  if (!turn.armed() && !promoted_first) {
    if (proven) turn.act(Arm{*state.lock, *lease.held_until, lease.ttl});
    return true;  // a message from the renewal thread or the guardian wakes us
  }
  duty_failsafe(turn);
  if (!proven && on_promises(turn)) {
    turn.say(Reason::Level::warning,
             "continue to run as a leader because failsafe mode is enabled and all members are "
             "accessible");
    proven = true;
  }
  if (rule_no_progress(turn)) return true;
  if (stopped) {
    if (proven) start_with_lock(turn);
  } else if (turn.is_primary()) {
    rule_failover_key(turn);
    if (!rule_hand_over(turn)) keep(turn);
  } else if (turn.is_standby() && !turn.busy() && proven) {
    promote(turn);
  } else if (turn.seen.server.state == ServerState::starting &&
             turn.seen.guard.phase == ServerPhase::running) {
    watch_start(turn);
  }
  return true;
}

// In a pause a primary keeps the lock, its deadline goes on so that the fence can be on again at
// any moment, and only an operator has somebody promoted. Without a server the lock is given back.
void keep_lock_in_pause(Turn& turn) {
  auto& state = turn.state;
  if (turn.seen.guard.phase == ServerPhase::killing) return;
  if (state.giving_up) return give_up_lock(turn, "");
  if (rule_hand_over(turn)) return;
  const auto& lease = turn.seen.lease;
  keep_key_on_lease(turn);
  bool down = turn.seen.guard.phase == ServerPhase::none && !turn.busy();
  if (down && !state.restart) return give_up_lock(turn, "PostgreSQL is not running, in a pause");
  if (!turn.armed() && turn.proven()) {
    return turn.act(Arm{*state.lock, *lease.held_until, lease.ttl});
  }
  if (turn.is_primary()) {
    rule_failover_key(turn);
    if (!rule_hand_over(turn)) keep(turn);
  } else if (down) {
    if (turn.armed() && turn.proven()) start_with_lock(turn);
  } else if (turn.is_standby() && is_named(turn) && !turn.busy() && turn.armed() && turn.proven()) {
    promote(turn);
  }
}

}  // namespace pgsteady::core
