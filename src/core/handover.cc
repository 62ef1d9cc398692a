// The leadership is handed over: the server is stopped, so that the standbys get all of its WAL,
// then the lock is released to a successor, who need not wait for anything.
#include "core/turn.h"
#include "lease/mutant.h"

namespace pgsteady::core {
namespace {

constexpr auto kHandOverLimit = seconds(30);  // for the server to stop; then it is killed

void release_with_note(Turn& turn) {
  const auto& lock = *turn.state.lock;
  ReleaseNote note;
  note.leader = turn.self.name;
  note.leader_revision = lock.mod_revision;
  const auto& control = turn.seen.server.control;
  // Of a primary: where a standby's last checkpoint began says nothing about what it had.
  bool known = control && control->cleanly_shut_down() && control->was_primary();
  if (control && (known || MUTANT(end_of_a_killed_server))) {
    note.timeline = control->timeline;
    note.end = control->checkpoint;
  }
  Txn txn;
  txn.compares = {Compare::unchanged("leader", lock.mod_revision)};
  txn.operations = {Operation::remove("leader"), Operation::put("release", release_to_json(note))};
  if (turn.cluster().unfenced.contains(turn.self.name)) {
    txn.operations.push_back(Operation::remove("unfenced/" + turn.self.name));
  }
  if (!turn.state.successor.empty()) {
    FailoverRequest request;
    request.leader = turn.self.name;
    request.candidate = turn.state.successor;
    txn.operations.push_back(Operation::put("failover", failover_to_json(request)));
  }
  turn.transact(TxnKind::release, std::move(txn));
}

}  // namespace

bool sync_lets_lead(const Turn& turn, const MemberName& name) {
  const auto& sync = turn.cluster().sync;
  return !sync || sync->standbys.empty() || sync->leader == name || sync->standbys.count(name);
}

// Of the streaming replicas that may lead and are not far behind, so that they have all of the WAL
// soon, the one with the highest failover_priority; else the one that got furthest.
MemberName best_successor(const Turn& turn) {
  MemberName best;
  std::pair<std::int64_t, Lsn> best_rank;
  for (const auto& row : turn.seen.server.replication) {
    const auto* member = turn.cluster().member(row.application_name);
    if (!sync_lets_lead(turn, row.application_name)) continue;
    if (!member || member->tags.nofailover() || row.state != "streaming" || !row.flush_lsn)
      continue;
    auto lag = turn.seen.server.write_lsn - *row.flush_lsn;
    bool close = lag <= turn.settings().maximum_lag_on_failover_bytes;
    std::pair rank{close ? member->tags.failover_priority() : 0, *row.flush_lsn};
    if (best.empty() || rank > best_rank) {
      best = row.application_name;
      best_rank = rank;
    }
  }
  return best;
}

void release_when_down(Turn& turn) {
  if (MUTANT(released_before_stop)) return release_with_note(turn);
  // What pg_control says has to be read after the server was reaped.
  if (!turn.seen.server.control || turn.seen.server.state != ServerState::stopped) {
    turn.out.measure_now = true;
    return;
  }
  if (turn.seen.guard.suspended) return turn.act(SwitchFence{true});
  // A release says that nobody writes any more, nor will.
  if (turn.seen.guard.armed.valid()) return turn.act(Disarm{turn.seen.guard.armed});
  release_with_note(turn);
}

bool rule_hand_over(Turn& turn) {
  if (!turn.state.handing_over) return false;
  turn.wake_in(milliseconds(100));
  if (MUTANT(released_while_stopping) && turn.seen.guard.phase == ServerPhase::stopping) {
    release_with_note(turn);
  } else if (!turn.process_exists()) {
    release_when_down(turn);
  } else if (!turn.busy() && turn.seen.guard.phase == ServerPhase::running) {
    turn.act(StopServer{StopServer::Mode::fast, turn.is_primary(), kHandOverLimit});
  }
  return true;
}

}  // namespace pgsteady::core
