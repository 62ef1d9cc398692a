// SIGTERM: hand over and go.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

// The streaming replica that got furthest, if it may lead.
MemberName successor(const Turn& turn) {
  const ReplicationRow* best = nullptr;
  for (const auto& row : turn.seen.server.replication) {
    const auto* member = turn.cluster().member(row.application_name);
    const auto& sync = turn.cluster().sync;
    if (sync && !sync->standbys.empty() && !sync->standbys.count(row.application_name)) continue;
    if (!member || member->tags.nofailover() || row.state != "streaming" || !row.flush_lsn)
      continue;
    if (!best || *row.flush_lsn > *best->flush_lsn) best = &row;
  }
  return best ? best->application_name : MemberName();
}

void release_with_note(Turn& turn) {
  const auto& lock = *turn.state.lock;
  ReleaseNote note;
  note.leader = turn.self.name;
  note.leader_revision = lock.mod_revision;
  if (turn.seen.server.control && turn.seen.server.control->cleanly_shut_down()) {
    note.timeline = turn.seen.server.control->timeline;
    note.end = turn.seen.server.control->checkpoint;
  }
  Txn txn;
  txn.compares = {Compare::unchanged("leader", lock.mod_revision)};
  txn.operations = {Operation::remove("leader"), Operation::put("release", release_to_json(note))};
  if (!turn.state.successor.empty()) {
    FailoverRequest request;
    request.leader = turn.self.name;
    request.candidate = turn.state.successor;
    txn.operations.push_back(Operation::put("failover", failover_to_json(request)));
  }
  turn.transact(TxnKind::release, std::move(txn));
}

bool stop_server(Turn& turn) {
  if (!turn.process_exists()) return false;
  if (turn.busy() || turn.seen.guard.phase != ServerPhase::running) return true;
  bool leads = turn.state.lock && turn.is_primary();
  if (leads) {
    const auto& name = turn.state.successor = successor(turn);
    turn.say(fmt::format("stopping; handing the leadership over to {}",
                         name.empty() ? "whoever is healthiest" : name.c_str()));
  }
  auto left = *turn.seen.stop_by - turn.now.boot;
  turn.act(StopServer{StopServer::Mode::fast, leads,
                      std::max<lease::Duration>(left - seconds(1), milliseconds(200))});
  return true;
}

}  // namespace

bool rule_stop_requested(Turn& turn) {
  if (!turn.seen.stop_by) return false;
  turn.wake_in(milliseconds(100));
  if (turn.seen.job && *turn.seen.job != JobKind::stop) {
    turn.act(CancelJob{});
    if (*turn.seen.job == JobKind::clone || *turn.seen.job == JobKind::initdb ||
        *turn.seen.job == JobKind::rewind) {
      return true;
    }
  }
  if (stop_server(turn)) return true;
  // The server is down and reaped. What pg_control says has to be read after that.
  bool can_write =
      turn.seen.dcs.reachable && turn.now.boot < *turn.seen.stop_by - milliseconds(300);
  if (turn.state.lock && can_write) {
    if (!turn.seen.server.control || turn.seen.server.state != ServerState::stopped) {
      turn.out.measure_now = true;
      return true;
    }
    // A release says that nobody writes any more, nor will.
    if (turn.seen.guard.armed.valid()) {
      turn.act(Disarm{turn.seen.guard.armed});
    } else {
      release_with_note(turn);
    }
    return true;
  }
  // The member key goes with the lease.
  if (turn.seen.lease_request) return true;
  if (turn.seen.lease.lease != 0 && can_write) {
    turn.act(DropLease{true});
    return true;
  }
  turn.act(Finish{0, "stopped"});
  return true;
}

}  // namespace pgsteady::core
