#include "api/health.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <limits>
#include <map>

#include "api/status_json.h"

namespace pgsteady::api {
namespace {

using agent::NodeStatus;
using std::chrono::nanoseconds;

struct Question {
  const NodeStatus& status;
  const http::Request& request;
  nanoseconds now;

  std::string parameter(const char* key) const {
    auto found = request.query.find(key);
    return found == request.query.end() ? "" : found->second;
  }
};

// How far the leader is known to be: what it last wrote to etcd, or what we have received since.
Lsn leader_position(const NodeStatus& status) {
  Lsn told = status.cluster.status ? status.cluster.status->optime : Lsn{};
  return std::max(told, status.server.receive_lsn);
}

bool within_lag(const Question& question) {
  auto limit = parse_bytes(question.parameter("lag"));
  auto leader = leader_position(question.status);
  return !limit || leader - question.status.server.replay_lsn <= *limit;
}

std::string tag_text(const boost::json::value& value) {
  if (value.is_string()) return std::string(value.as_string());
  return boost::json::serialize(value);
}

// tag_K=V: a tag that is missing or different makes the node unfit.
bool tags_match(const Question& question) {
  for (const auto& [key, wanted] : question.request.query) {
    if (!key.starts_with("tag_")) continue;
    const auto* value = question.status.tags.values.if_contains(key.substr(4));
    if (!value || value->is_null() || tag_text(*value) != wanted) return false;
  }
  return true;
}

bool is_leader(const Question& question) {
  return holds_lock(question.status, question.now);
}

bool fits_replica(const Question& question) {
  const auto& status = question.status;
  if (!is_running(status) || !status.server.is_standby()) return false;
  if (status.tags.noloadbalance() || !within_lag(question)) return false;
  auto wanted = question.parameter("replication_state");
  return wanted.empty() || wanted == status.server.replication_state();
}

bool is_replica(const Question& question) {
  return fits_replica(question) && tags_match(question);
}

// What the sync key says, as long as etcd can be asked.
bool is_named_replica(const Question& question, SynchronousMode mode) {
  return question.status.dcs_reachable &&
         sync_role(question.status.cluster, question.status.name) == mode && is_replica(question);
}

bool is_synchronous(const Question& question) {
  return is_named_replica(question, SynchronousMode::on);
}

bool is_quorum(const Question& question) {
  return is_named_replica(question, SynchronousMode::quorum);
}

bool is_asynchronous(const Question& question) {
  return is_named_replica(question, SynchronousMode::off);
}

bool is_read_only(const Question& question) {
  return (is_leader(question) || fits_replica(question)) && tags_match(question);
}

bool is_leader_with_tags(const Question& question) {
  return question.status.dcs_reachable && is_leader(question) && tags_match(question);
}

bool is_read_only_sync(const Question& question) {
  return is_leader_with_tags(question) || is_synchronous(question);
}

bool is_read_only_quorum(const Question& question) {
  return is_leader_with_tags(question) || is_quorum(question);
}

bool is_up(const Question& question) {
  return is_running(question.status) && tags_match(question);
}

bool never(const Question&) {
  return false;
}

using Check = bool (*)(const Question&);
const std::map<std::string, Check>& checks() {
  static const std::map<std::string, Check> table = {
      {"", is_leader},
      {"primary", is_leader},
      {"master", is_leader},
      {"read-write", is_leader},
      {"leader", is_leader},
      {"standby-leader", never},
      {"standby_leader", never},
      {"replica", is_replica},
      {"read-only", is_read_only},
      {"sync", is_synchronous},
      {"synchronous", is_synchronous},
      {"quorum", is_quorum},
      {"async", is_asynchronous},
      {"asynchronous", is_asynchronous},
      {"read-only-sync", is_read_only_sync},
      {"read-only-synchronous", is_read_only_sync},
      {"read-only-quorum", is_read_only_quorum},
      {"health", is_up},
  };
  return table;
}

}  // namespace

bool holds_lock(const NodeStatus& status, nanoseconds now) {
  return status.has_lock && status.deadline && *status.deadline > now;
}

std::optional<bool> healthy(const std::string& name, const NodeStatus& status,
                            const http::Request& request, nanoseconds now) {
  auto check = checks().find(name);
  if (check == checks().end()) return std::nullopt;
  return check->second(Question{status, request, now});
}

bool alive(const NodeStatus& status, nanoseconds now) {
  if (status.cluster.settings().pause) return true;
  auto limit = status.server.is_primary() ? status.ttl : 2 * status.ttl;
  return status.loop_ran_at + limit > now;
}

bool ready(const NodeStatus& status, const http::Request& request, nanoseconds now) {
  if (holds_lock(status, now)) return true;
  if (!is_running(status) || status.server.replication_state() != "streaming") return false;
  if (!status.dcs_reachable && status.server.receive_lsn == Lsn{}) return false;
  Question question{status, request, now};
  const auto& server = status.server;
  auto position = question.parameter("mode") == "write" ? server.receive_lsn : server.replay_lsn;
  auto limit = parse_bytes(question.parameter("lag"))
                   .value_or(status.cluster.settings().maximum_lag_on_failover_bytes);
  return leader_position(status) - position <= limit;
}

std::optional<std::int64_t> parse_bytes(std::string_view text) {
  static const std::map<std::string_view, int> shifts = {
      {"", 0}, {"B", 0}, {"kB", 10}, {"KB", 10}, {"MB", 20}, {"GB", 30}, {"TB", 40}};
  auto end = text.find_first_not_of("0123456789");
  auto number = parse_decimal(text.substr(0, end));
  auto unit = end == text.npos ? std::string_view() : text.substr(end);
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  auto shift = shifts.find(unit);
  if (!number || shift == shifts.end()) return std::nullopt;
  auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (*number > (limit >> shift->second)) return static_cast<std::int64_t>(limit);
  return static_cast<std::int64_t>(*number << shift->second);
}

}  // namespace pgsteady::api
