#include "api/status_json.h"

#include <boost/json/array.hpp>

#include "api/health.h"

namespace pgsteady::api {
namespace {

namespace json = boost::json;
using agent::NodeStatus;

std::int64_t number(Lsn lsn) {
  return static_cast<std::int64_t>(lsn.value);
}

json::object xlog(const LocalServer& server) {
  json::object out;
  if (server.is_primary()) {
    out["location"] = number(server.write_lsn);
    return out;
  }
  out["received_location"] = number(std::max(server.receive_lsn, server.replay_lsn));
  out["replayed_location"] = number(server.replay_lsn);
  if (server.replay_timestamp.empty()) {
    out["replayed_timestamp"] = nullptr;
  } else {
    out["replayed_timestamp"] = server.replay_timestamp;
  }
  out["paused"] = server.replay_paused;
  return out;
}

json::array replication(const LocalServer& server) {
  json::array rows;
  for (const auto& row : server.replication) {
    json::object out{{"usename", row.user}, {"application_name", row.application_name}};
    if (row.client_addr.empty()) {
      out["client_addr"] = nullptr;
    } else {
      out["client_addr"] = row.client_addr;
    }
    out["state"] = row.state;
    out["sync_state"] = row.sync_state;
    out["sync_priority"] = row.sync_priority;
    rows.push_back(std::move(out));
  }
  return rows;
}

void add_running(const NodeStatus& status, json::object& out) {
  const auto& server = status.server;
  if (!server.start_time.empty()) out["postmaster_start_time"] = server.start_time;
  out["server_version"] = server.version;
  out["xlog"] = xlog(server);
  if (server.timeline) out["timeline"] = server.timeline;
  if (auto state = status.server.replication_state(); !state.empty())
    out["replication_state"] = state;
  if (!server.replication.empty()) out["replication"] = replication(server);
}

std::optional<SystemId> system_id(const NodeStatus& status) {
  if (status.server.system_id.value) return status.server.system_id;
  if (status.server.control) return status.server.control->system_id;
  return std::nullopt;
}

json::object own_part(const NodeStatus& status) {
  json::object out{{"version", status.version}, {"instance", status.instance}};
  if (status.unfit) out["unfit"] = true;
  if (status.race) {
    out["race"] = json::object{{"leaderless_revision", status.race->leaderless_revision},
                               {"timeline", status.race->timeline},
                               {"lsn", number(status.race->lsn)}};
  }
  return out;
}

void add_position(json::object& out, const std::string& prefix, const std::optional<Lsn>& lsn,
                  Lsn leader) {
  if (!lsn || lsn->value == 0) {
    out[prefix + "lsn"] = "unknown";
    out[prefix + "lag"] = "unknown";
    return;
  }
  out[prefix + "lag"] = std::max<std::int64_t>(0, leader - *lsn);
  out[prefix + "lsn"] = lsn->text();
}

// The member's own WAL position: what it says, else the greater of the two.
std::optional<Lsn> position(const Member& member) {
  if (member.xlog_location) return member.xlog_location;
  return std::max(member.receive_lsn, member.replay_lsn);
}

// What the leader said last, in the status key or in its member key: the greater, as an idle
// cluster leaves both alone.
Lsn leader_position(const ClusterView& cluster) {
  Lsn position = cluster.status ? cluster.status->optime : Lsn{};
  const auto* leader = cluster.leader ? cluster.member(cluster.leader->name) : nullptr;
  if (leader && leader->xlog_location) position = std::max(position, *leader->xlog_location);
  return position;
}

json::object member_document(const Member& member, const ClusterView& cluster) {
  bool leader = cluster.leader && cluster.leader->name == member.name;
  bool told = !leader && !member.replication_state.empty();
  auto sync = sync_role(cluster, member.name);
  const char* replica = sync == SynchronousMode::on       ? "sync_standby"
                        : sync == SynchronousMode::quorum ? "quorum_standby"
                                                          : "replica";
  json::object out{{"name", member.name},
                   {"role", leader ? "leader" : replica},
                   {"state", told ? member.replication_state : member.state},
                   {"api_url", member.api_url}};
  if (auto address = host_port_of_url(member.conn_url)) {
    out["host"] = address->host;
    if (address->port) out["port"] = address->port;
  }
  if (member.timeline) out["timeline"] = member.timeline;
  if (member.pending_restart) out["pending_restart"] = true;
  if (!member.pending_restart_reason.empty()) {
    out["pending_restart_reason"] = member.pending_restart_reason;
  }
  if (!member.scheduled_restart.empty()) out["scheduled_restart"] = member.scheduled_restart;
  if (!member.tags.values.empty()) out["tags"] = member.tags.values;
  if (leader) return out;
  auto reference = leader_position(cluster);
  add_position(out, "receive_", member.receive_lsn, reference);
  add_position(out, "replay_", member.replay_lsn, reference);
  add_position(out, "", position(member), reference);
  return out;
}

json::object scheduled_switchover(const FailoverRequest& request) {
  json::object out{{"at", request.scheduled_at}};
  if (!request.leader.empty()) out["from"] = request.leader;
  if (!request.candidate.empty()) out["to"] = request.candidate;
  return out;
}

}  // namespace

bool is_running(const NodeStatus& status) {
  return status.state == "running" && status.server.state == ServerState::running;
}

SynchronousMode sync_role(const ClusterView& cluster, const MemberName& name) {
  bool named = cluster.sync && cluster.sync->standbys.count(name) > 0;
  return named ? cluster.settings().synchronous_mode : SynchronousMode::off;
}

bool failsafe_is_active(const NodeStatus& status, std::chrono::nanoseconds now) {
  return status.failsafe_until && *status.failsafe_until > now;
}

std::string role(const NodeStatus& status, std::chrono::nanoseconds now) {
  if (status.server.state == ServerState::running) {
    return status.server.in_recovery ? "replica" : "primary";
  }
  return holds_lock(status, now) ? "primary" : "replica";
}

json::object node_document(const NodeStatus& status, std::chrono::nanoseconds now) {
  json::object out{{"state", status.state}, {"role", role(status, now)}};
  if (status.server.state == ServerState::running) add_running(status, out);
  if (status.server.is_standby()) {
    auto role = sync_role(status.cluster, status.name);
    if (role == SynchronousMode::on) out["sync_standby"] = true;
    if (role == SynchronousMode::quorum) out["quorum_standby"] = true;
  }
  if (status.cluster.settings().pause) out["pause"] = true;
  if (status.cluster_unlocked) out["cluster_unlocked"] = true;
  if (failsafe_is_active(status, now)) out["failsafe_mode_is_active"] = true;
  out["dcs_last_seen"] =
      std::chrono::duration_cast<std::chrono::seconds>(status.dcs_last_seen.time_since_epoch())
          .count();
  if (auto tags = status.tags.told(); !tags.empty()) out["tags"] = std::move(tags);
  if (auto id = system_id(status)) out["database_system_identifier"] = id->text();
  if (const auto& changes = status.server.pending_restart; !changes.empty()) {
    out["pending_restart"] = true;
    out["pending_restart_reason"] = setting_changes_json(changes);
  }
  if (const auto* own = status.cluster.member(status.name);
      own && !own->scheduled_restart.empty()) {
    out["scheduled_restart"] = own->scheduled_restart;
  }
  if (status.watchdog_failed) out["watchdog_failed"] = true;
  out["patroni"] =
      json::object{{"version", kPatroniVersion}, {"scope", status.scope}, {"name", status.name}};
  out["pgsteady"] = own_part(status);
  return out;
}

json::object cluster_document(const ClusterView& cluster, const std::string& scope) {
  json::array members;
  for (const auto& member : cluster.members) members.push_back(member_document(member, cluster));
  json::object out{{"members", std::move(members)}};
  if (cluster.settings().pause) out["pause"] = true;
  if (cluster.failover && !cluster.failover->scheduled_at.empty()) {
    out["scheduled_switchover"] = scheduled_switchover(*cluster.failover);
  }
  if (!scope.empty()) out["scope"] = scope;
  return out;
}

}  // namespace pgsteady::api
