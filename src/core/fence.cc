// Knowing what one holds, and letting go in time.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kAfterFailure = seconds(1);
constexpr auto kAfterRefusal = milliseconds(20);

bool is_loss(lease::Renewal::State state) {
  return state == lease::Renewal::State::key_lost || state == lease::Renewal::State::lease_lost;
}

void absorb_lock_taken(Turn& turn, const TxnEnd& end) {
  turn.state.lock = lease::Epoch{end.lease, end.revision};
  turn.state.successor.clear();
  turn.state.newest_reserved.reset();
  turn.state.handing_over = false;
  turn.act(HoldKey{*turn.state.lock});
  turn.wake_at(turn.now.boot);
}

// Nobody held the lock in between only if the deadline before it still lies ahead.
void absorb_retaken(Turn& turn, const TxnEnd& end) {
  if (turn.state.lock == lease::Epoch{end.lease, end.revision}) return;  // a read was faster
  if (turn.armed() && turn.now.boot < turn.seen.guard.deadline) return absorb_lock_taken(turn, end);
  turn.say(Reason::Level::warning, "took the lock back too late; giving it up");
  turn.act(DropLease{true});
}

void lock_released(Turn& turn) {
  auto& state = turn.state;
  state.lock.reset();
  state.returning = state.handing_over;
  state.giving_up = state.handing_over = false;
  turn.act(LetGo{});
  turn.say("Leader key released");
}

// Our own release may be read before its answer comes.
bool is_released(const Turn& turn) {
  const auto& note = turn.cluster().release;
  return note && note->leader == turn.self.name &&
         note->leader_revision == turn.state.lock->mod_revision;
}

void absorb_txn(Turn& turn, const TxnEnd& end) {
  auto& state = turn.state;
  if (end.succeeded) state.written_revision = std::max(state.written_revision, end.revision);
  if (!end.succeeded) {
    auto pause = end.answered ? lease::Duration(kAfterRefusal) : lease::Duration(kAfterFailure);
    state.txn_after[end.kind] = turn.now.boot + pause;
  }
  if (!end.answered && !end.lease_gone && takes_lock(end.kind)) {
    state.unsure_until = turn.now.boot + kLateTransaction;
  }
  if (end.lease_gone) {
    turn.act(DropLease{false});
    return;
  }
  switch (end.kind) {
    case TxnKind::reserve:
      if (end.succeeded) state.reserved_timeline = state.asked_timeline;
      break;
    case TxnKind::acquire:
      if (end.succeeded) state.reserved_timeline = state.asked_timeline;
      if (end.succeeded) state.term_began = end.revision;
      [[fallthrough]];
    case TxnKind::readopt:
      if (end.succeeded) absorb_lock_taken(turn, end);
      if (end.answered && !end.succeeded) {
        turn.say("Could not take out TTL lock");
        state.written_revision = std::max(state.written_revision, end.revision);  // read first
      }
      break;
    case TxnKind::retake:
      if (end.succeeded) absorb_retaken(turn, end);
      break;
    case TxnKind::release:
    case TxnKind::give_up:
      if (end.succeeded && state.lock && state.lock->mod_revision < end.revision) {
        lock_released(turn);
      }
      break;
    case TxnKind::claim_initialize:
      state.bootstrapping = end.succeeded;
      if (end.succeeded) turn.say("trying to bootstrap a new cluster");
      break;
    case TxnKind::finish_initialize:
      if (!end.succeeded) break;
      if (state.bootstrapping) turn.say("initialized a new cluster");
      state.bootstrapping = false;
      turn.act(ClearMarker{});
      break;
    case TxnKind::member:
      if (!end.succeeded) state.member_written.clear();
      if (end.answered && !end.succeeded && !state.registered) {
        state.name_is_ours = state.twin_asked = false;
        state.written_revision = std::max(state.written_revision, end.revision);  // read first
      }
      state.registered = state.registered || end.succeeded;
      break;
    case TxnKind::status:
      if (!end.succeeded) state.status_written.clear();
      break;
    case TxnKind::ask_failover:
    case TxnKind::cancel_failover:
      absorb_manual(turn, end);
      break;
    case TxnKind::unfenced:
      state.unfenced_unsure = !end.answered;
      break;
    case TxnKind::sync:
      if (end.succeeded) state.late_sync_change.replaces = 0;
      break;
    case TxnKind::config:
      absorb_config(turn, end);
      break;
    default:
      break;
  }
}

void note_end(Turn& turn, Backoff& backoff, const JobEnd& end, const char* what) {
  if (end.ok) return backoff.succeeded();
  backoff.failed(turn.now.boot);
  turn.say(Reason::Level::error, fmt::format("{} failed: {}", what, end.message));
}

void absorb_job(Turn& turn, const JobEnd& end) {
  auto& state = turn.state;
  if (!end.ok) state.job_after[end.kind] = turn.now.boot + kAfterFailure;
  switch (end.kind) {
    case JobKind::initdb:
      note_end(turn, state.initdb, end, "initdb");
      state.initdb_done = end.ok;
      break;
    case JobKind::clone:
      note_end(turn, state.clone, end, "cloning from the leader");
      if (end.ok || end.harmless) absorb_clone(turn);
      if (!end.ok) break;
      state.reinitialize = false;
      state.rewind_failed = state.rewound = false;
      turn.say(fmt::format("bootstrapped from {} '{}'",
                           turn.cluster().leader && turn.cluster().leader->name != end.message
                               ? "replica"
                               : "leader",
                           end.message));
      break;
    case JobKind::rewind:
      state.rewound = end.ok;
      if (!end.ok && end.harmless) {
        turn.say(Reason::Level::warning, "pg_rewind was not run: " + end.message);
        break;
      }
      note_end(turn, state.rewind, end, "pg_rewind");
      if (!end.ok && state.rewind.failures >= 3) state.rewind_failed = true;
      break;
    case JobKind::reconfigure:
      if (!end.ok) state.applied_config = -1;  // once more
      break;
    case JobKind::start:
      if (!end.ok) note_end(turn, state.start, end, "starting PostgreSQL");
      break;
    case JobKind::promote:
      if (end.ok) {
        state.reserved_timeline = 0;
        state.rewound = false;
      }
      if (!end.ok && !end.harmless) state.promotion_failed = true;
      if (!end.ok) turn.say(Reason::Level::warning, end.message);
      break;
    case JobKind::create_users:
      if (end.ok) state.users_created = true;
      [[fallthrough]];
    default:
      if (!end.ok) turn.say(Reason::Level::warning, end.message);
  }
}

// Linearizable reads never go back. If they do, this is another etcd, or one restored from a
// backup: revisions of the old one mean nothing in it.
void absorb_new_history(Turn& turn) {
  auto& state = turn.state;
  if (turn.cluster().revision < state.read_revision) {
    turn.say(Reason::Level::warning, "etcd's revisions went back: it was wiped or restored");
    if (state.lock) turn.act(LetGo{});
    if (turn.seen.lease.lease != 0)
      turn.act(DropLease{false});  // its epochs are over for the guardian
    state.lock.reset();
    state.takeover = {};
    state.written_revision = 0;
    state.member_written.clear();
    state.status_written.clear();
  }
  state.read_revision = turn.cluster().revision;
}

void absorb_other_leader(Turn& turn) {
  const auto& leader = turn.cluster().leader;
  if (!leader || turn.leader_is_me()) return;
  auto& state = turn.state;
  if (lease::Epoch{leader->lease, leader->mod_revision} != state.takeover.key()) {
    state.other_leader = leader->name;
    state.other_leader_served_since.reset();
  }
  if (leader_serves(turn) && !state.other_leader_served_since)
    state.other_leader_served_since = turn.now.boot;
}

void absorb_leader_key(Turn& turn) {
  const auto& cluster = turn.cluster();
  auto& takeover = turn.state.takeover;
  if (!turn.seen.dcs.read_at) return;
  absorb_new_history(turn);
  if (cluster.system_id()) turn.state.had_cluster = true;
  if (cluster.initialize) {
    turn.state.nameless_since.reset();
  } else if (!turn.state.nameless_since) {
    turn.state.nameless_since = turn.now.boot;
  }
  takeover.read(*turn.seen.dcs.read_at, turn.seen.dcs.term);
  absorb_other_leader(turn);
  if (cluster.leader) {
    takeover.key_seen({cluster.leader->lease, cluster.leader->mod_revision});
  } else {
    takeover.key_gone(*turn.seen.dcs.read_at, turn.settings().ttl);
    if (turn.release()) takeover.released();
  }
}

// A server that was started answers, or has ended before it ever did.
void absorb_start(Turn& turn) {
  auto& state = turn.state;
  if (turn.seen.guard.phase == ServerPhase::none) state.starting_since.reset();
  if (!state.starting || turn.seen.job == JobKind::start) return;
  if (turn.server_running()) {
    state.starting = state.returning = false;
    state.start.succeeded();
  } else if (turn.seen.guard.phase == ServerPhase::none) {
    state.starting = false;
    state.start.failed(turn.now.boot);
    turn.say(Reason::Level::error, "PostgreSQL ended while it started; see its log");
  }
}

}  // namespace

void absorb(Turn& turn) {
  for (const auto& end : turn.seen.txn_ends) absorb_txn(turn, end);
  for (const auto& end : turn.seen.job_ends) absorb_job(turn, end);
  for (const auto& poll : turn.seen.polls) turn.state.takeover.polled(poll);
  if (turn.seen.slots_failed) {
    turn.state.synced_slots.clear();
    turn.state.slots_synced_at = turn.now.boot;
  }
  absorb_start(turn);
  absorb_deaths(turn);
  absorb_crashes(turn);
  absorb_leader_key(turn);
}

// An agent that starts beside an armed guardian goes on where the one before it stopped.
void take_over_from_guardian(Turn& turn) {
  const auto& guard = turn.seen.guard;
  if (turn.state.begun || !guard.armed.valid()) return;
  turn.state.lock = guard.armed;
  // The deadline tells when the last counted renewal was sent.
  auto counted = guard.deadline - guard.ttl + lease::margin(guard.ttl);
  turn.act(AdoptLease{guard.armed.lease, guard.ttl, counted});
  turn.act(HoldKey{guard.armed});
  take_over_promises(turn);
  turn.say("took over a server that is armed already; renewing its lease");
}

void rule_lost_lock(Turn& turn) {
  auto& state = turn.state;
  if (!state.lock) return;
  const auto& lease = turn.seen.lease;
  bool renewal_says = lease.epoch == state.lock && is_loss(lease.state);
  const auto& cluster = turn.cluster();
  bool etcd_says =
      turn.seen.dcs.read_at && cluster.revision >= state.lock->mod_revision &&
      (!turn.leader_is_me() || cluster.leader->mod_revision != state.lock->mod_revision);
  bool guardian_says = turn.seen.guard.refused == *state.lock;
  if (guardian_says) state.refused_at = turn.now.boot;
  if (!renewal_says && !etcd_says && !guardian_says) return;
  if (etcd_says && is_released(turn)) return lock_released(turn);
  bool releasing = turn.in_flight(TxnKind::release) || turn.in_flight(TxnKind::give_up);
  if (!guardian_says && releasing) return;  // its answer, or the next read, tells how it ended
  if (!guardian_says && keeps_lock_on_promises(turn)) return;
  turn.say(Reason::Level::warning,
           fmt::format("Lock owner: {}; I am {}: lost the leader lock",
                       cluster.leader ? cluster.leader->name : "None", turn.self.name));
  state.lock.reset();
  state.giving_up = false;
  turn.act(LetGo{});
}

// Nobody writes without the lock: also a server that somebody promoted by hand.
bool rule_unarmed_primary(Turn& turn) {
  if (turn.state.lock && !turn.is_primary()) return false;
  // Armed with an earlier epoch of ours it has a deadline all the same; the new one follows.
  if (turn.state.lock && turn.seen.guard.armed.valid()) return false;
  if (turn.state.lock && MUTANT(armed_after_promotion)) return false;
  if (!turn.may_write()) return false;
  if (turn.seen.guard.phase == ServerPhase::killing) return true;
  turn.act(Fence{turn.state.lock ? "a primary that is not armed" : "a primary without the lock"});
  turn.say(Reason::Level::warning,
           "demoting self because I do not have the lock and I was a leader");
  return true;
}

// Nothing runs and the lock is gone: close the epoch, or its deadline would kill the standby that
// is started next, and an agent that comes after this one would take the epoch up.
bool rule_disarm(Turn& turn) {
  const auto& guard = turn.seen.guard;
  if (turn.state.lock || guard.phase != ServerPhase::none || !guard.armed.valid()) return false;
  turn.act(Disarm{guard.armed});
  return true;
}

// The guardian would kill the server at the deadline; a stop just before it is the same, and says
// why.
bool rule_deadline_near(Turn& turn) {
  auto& state = turn.state;
  if (!state.lock || !turn.armed()) return false;
  const auto& guard = turn.seen.guard;
  auto held_until = turn.seen.lease.held_until;
  auto deadline = held_until ? std::max(*held_until, guard.deadline) : guard.deadline;
  auto act_at = deadline - guard.ttl / 50;
  if (turn.now.boot < act_at) {
    turn.wake_at(act_at);
    return false;
  }
  state.lock.reset();
  turn.act(LetGo{});
  if (turn.process_exists()) turn.act(Fence{"the lease could not be renewed in time"});
  turn.say(Reason::Level::warning, "demoted self because failed to update leader lock in DCS");
  return true;
}

}  // namespace pgsteady::core
