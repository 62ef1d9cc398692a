#include "api/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "api/health.h"
#include "api/status_json.h"
#include "cluster/json.h"

namespace pgsteady::api {
namespace {

using agent::NodeStatus;

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

class Exposition {
 public:
  explicit Exposition(const NodeStatus& status)
      : labels_(fmt::format("{{scope=\"{}\",name=\"{}\"}}", escaped(status.scope),
                            escaped(status.name))) {}

  void gauge(const char* name, const char* help, auto value) { add(name, "gauge", help, value); }
  void counter(const char* name, const char* help, auto value) {
    add(name, "counter", help, value);
  }
  std::string text() && { return std::move(text_); }

 private:
  void add(const char* name, const char* type, const char* help, auto value) {
    text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n{0}{3} {4}\n", name, help, type, labels_,
                         value);
  }
  std::string labels_;
  std::string text_;
};

double seconds(std::chrono::nanoseconds span) {
  return std::chrono::duration<double>(span).count();
}

// PostgreSQL's "2026-11-22 14:03:00.5+00:00" (also with T) as seconds since the epoch; 0 for
// others.
double epoch_seconds(const std::string& text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, zone_hour = 0, zone_minute = 0, used = 0;
  double second = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%d%*1[ T]%d:%d:%lf%n", &year, &month, &day, &hour, &minute,
                  &second, &used) != 6) {
    return 0;
  }
  char sign = '+';
  std::sscanf(text.c_str() + used, "%c%2d:%2d", &sign, &zone_hour, &zone_minute);
  auto date =
      std::chrono::sys_days(std::chrono::year(year) / std::max(month, 1) / std::max(day, 1));
  auto zone = (zone_hour * 60 + zone_minute) * (sign == '-' ? -60.0 : 60.0);
  return seconds(date.time_since_epoch()) + hour * 3600.0 + minute * 60.0 + second - zone;
}

// 4.1.4 → 040104
std::string padded_version(std::string_view version) {
  std::string out;
  while (!version.empty()) {
    auto part = version.substr(0, version.find('.'));
    out += fmt::format("{:0>2}", part);
    version.remove_prefix(std::min(version.size(), part.size() + 1));
  }
  return out;
}

// Patroni numbers its states; monitoring relies on the numbers.
int state_number(const std::string& state) {
  constexpr std::array<std::string_view, 15> states = {"initializing new cluster",
                                                       "initdb failed",
                                                       "running custom bootstrap script",
                                                       "custom bootstrap failed",
                                                       "creating replica",
                                                       "running",
                                                       "starting",
                                                       "starting after custom bootstrap",
                                                       "start failed",
                                                       "restarting",
                                                       "restart failed",
                                                       "stopping",
                                                       "stopped",
                                                       "stop failed",
                                                       "crashed"};
  auto found = std::find(states.begin(), states.end(), state);
  return found == states.end() ? -1 : static_cast<int>(found - states.begin());
}

void add_server(const NodeStatus& status, std::chrono::nanoseconds now, Exposition& out) {
  const auto& server = status.server;
  bool primary = role(status, now) == "primary";
  bool standby = server.is_standby();
  out.gauge("patroni_postgres_running", "1 if PostgreSQL is running", int(is_running(status)));
  out.gauge("patroni_postmaster_start_time", "Start of the postmaster, epoch seconds",
            fmt::format("{:.6f}", epoch_seconds(server.start_time)));
  out.gauge("patroni_primary", "1 if this node is a primary", int(primary));
  out.counter("patroni_xlog_location", "A primary's WAL position, else 0",
              server.is_primary() ? server.write_lsn.value : 0);
  out.gauge("patroni_standby_leader", "1 if this node leads a standby cluster", 0);
  out.gauge("patroni_replica", "1 if this node is a replica", int(!primary));
  auto sync = sync_role(status.cluster, status.name);
  out.gauge("patroni_sync_standby", "1 if this node is a synchronous standby",
            int(standby && sync == SynchronousMode::on));
  out.gauge("patroni_quorum_standby", "1 if this node is a quorum standby",
            int(standby && sync == SynchronousMode::quorum));
  out.counter("patroni_xlog_received_location", "A replica's received WAL position, else 0",
              standby ? std::max(server.receive_lsn, server.replay_lsn).value : 0);
  out.counter("patroni_xlog_replayed_location", "A replica's replayed WAL position, else 0",
              standby ? server.replay_lsn.value : 0);
  out.gauge("patroni_xlog_replayed_timestamp", "Time of the last replayed commit, epoch seconds",
            fmt::format("{:.6f}", epoch_seconds(server.replay_timestamp)));
  out.gauge("patroni_xlog_paused", "1 if replay is paused", int(standby && server.replay_paused));
  auto streaming = status.server.replication_state() == "streaming";
  out.gauge("patroni_postgres_streaming", "1 if PostgreSQL is streaming", int(streaming));
  out.gauge("patroni_postgres_in_archive_recovery", "1 if PostgreSQL replays from an archive",
            int(status.server.replication_state() == "in archive recovery"));
  bool running = server.state == ServerState::running;
  out.gauge("patroni_postgres_server_version", "PostgreSQL's version number, 0 if not running",
            running ? server.version : 0);
  out.counter("patroni_postgres_timeline", "Timeline, 0 if not running",
              running ? server.timeline : 0);
  out.gauge("patroni_pending_restart", "1 if a restart is needed",
            int(!server.pending_restart.empty()));
  out.gauge("patroni_postgres_state", "PostgreSQL's state, 5 is running, 12 is stopped",
            state_number(status.state));
}

void add_cluster(const NodeStatus& status, std::chrono::nanoseconds now, Exposition& out) {
  out.gauge("patroni_cluster_unlocked", "1 if nobody holds the leader key",
            int(status.cluster_unlocked));
  out.gauge("patroni_failsafe_mode_is_active", "1 if the failsafe mode keeps the primary up",
            int(failsafe_is_active(status, now)));
  out.gauge(
      "patroni_dcs_last_seen", "Last answer of the DCS, epoch seconds",
      std::chrono::duration_cast<std::chrono::seconds>(status.dcs_last_seen.time_since_epoch())
          .count());
  out.gauge("patroni_failsafe_mode_enabled", "1 if the failsafe mode is configured",
            int(status.cluster.settings().failsafe_mode));
  out.gauge("patroni_failsafe_member", "1 if this node is asked in failsafe mode",
            int(status.cluster.failsafe && status.cluster.failsafe->count(status.name)));
  out.gauge("patroni_is_paused", "1 if automatic failover is off",
            int(status.cluster.settings().pause));
  out.gauge("patroni_failover_priority", "Failover priority, 0 if this node must not be promoted",
            status.tags.failover_priority());
}

void add_own(const NodeStatus& status, std::chrono::nanoseconds now, Exposition& out) {
  out.gauge("pgsteady_has_lock", "1 if this node holds the leader key within its deadline",
            int(holds_lock(status, now)));
  out.gauge("pgsteady_dcs_reachable", "1 if the DCS answered the loop's last request",
            int(status.dcs_reachable));
  out.counter("pgsteady_fence_events_total", "Times the guardian has killed the server",
              status.fence_events);
  out.gauge("pgsteady_decision_seconds", "Time that the last decision took",
            seconds(status.decision_time));
  out.gauge("pgsteady_loop_age_seconds", "Time since the loop's last turn",
            seconds(now - status.loop_ran_at));
  if (status.renewal_latency) {
    out.gauge("pgsteady_renewal_latency_seconds", "The last renewal, from sending it to its proof",
              seconds(*status.renewal_latency));
  }
  if (status.deadline) {
    out.gauge("pgsteady_deadline_slack_seconds", "Time left until the guardian kills the server",
              seconds(*status.deadline - now));
  }
}

}  // namespace

std::string metrics_text(const NodeStatus& status, std::chrono::nanoseconds now) {
  Exposition out(status);
  out.gauge("patroni_version", "The Patroni version whose interface this is, without dots",
            padded_version(kPatroniVersion));
  add_server(status, now, out);
  add_cluster(status, now, out);
  add_own(status, now, out);
  return std::move(out).text();
}

}  // namespace pgsteady::api
