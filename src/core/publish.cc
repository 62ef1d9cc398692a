// What this node says of itself under members/NAME.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

Member describe(const Turn& turn) {
  const auto& server = turn.seen.server;
  Member member;
  member.name = turn.self.name;
  member.conn_url = turn.self.conn_url;
  member.api_url = turn.self.api_url;
  member.version = turn.self.version;
  member.tags = turn.self.tags;
  member.state = member_state(turn);
  member.pause = turn.paused();
  if (const auto& restart = turn.state.scheduled_restart) {
    member.scheduled_restart = {{"schedule", restart->scheduled_at},
                                {"postmaster_start_time", turn.state.scheduled_for}};
  }
  bool primary = turn.state.lock && (turn.is_primary() || turn.seen.guard.as_primary);
  member.role = primary ? "primary" : "replica";
  if (!turn.server_running()) return member;
  member.timeline = server.timeline;
  member.pending_restart = !server.pending_restart.empty();
  member.pending_restart_reason = setting_changes_json(server.pending_restart);
  member.xlog_location = server.last_lsn();
  if (!server.in_recovery) {
    member.checkpoint_after_promote_pending =
        server.timeline > 1 && server.control && server.control->timeline < server.timeline;
    return member;
  }
  member.replay_lsn = server.replay_lsn;
  if (server.receive_lsn.value != 0) member.receive_lsn = server.receive_lsn;
  member.replication_state = server.replication_state();
  return member;
}

}  // namespace

std::string member_state(const Turn& turn) {
  if (turn.seen.job == JobKind::clone) return "creating replica";
  if (turn.seen.job == JobKind::initdb) return "initializing new cluster";
  if (turn.seen.job == JobKind::rewind) return "running pg_rewind";
  if (turn.seen.guard.phase == ServerPhase::none) {
    return turn.state.start.failures > 0 ? "start failed" : "stopped";
  }
  if (turn.seen.guard.phase != ServerPhase::running) return "stopping";
  return turn.seen.server.state == ServerState::running ? "running" : "starting";
}

void publish(Turn& turn) {
  auto lease = turn.seen.lease.lease;
  bool alive = lease != 0 && turn.seen.lease.state != lease::Renewal::State::lease_lost;
  if (!alive || !turn.seen.dcs.reachable || turn.seen.stop_by || !turn.state.name_is_ours) return;
  if (!turn.may_transact(TxnKind::member)) return;
  auto json = member_to_json(describe(turn));
  if (json == turn.state.member_written && lease == turn.state.member_lease) {
    const auto* there = turn.cluster().member(turn.self.name);
    bool in_place = !turn.fresh() || (there && there->lease == lease);
    if (in_place) return;
  }
  turn.state.member_written = json;
  turn.state.member_lease = lease;
  Txn txn;
  const auto key = "members/" + turn.self.name;
  if (!turn.state.registered) {  // two that start together do not both get the name
    const auto* there = turn.cluster().member(turn.self.name);
    txn.compares = {Compare::unchanged(key, there ? there->mod_revision : 0)};
  }
  txn.operations = {Operation::put(key, json, lease)};
  turn.transact(TxnKind::member, std::move(txn));
}

}  // namespace pgsteady::core
