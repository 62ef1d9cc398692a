// switchover, failover, restart, reinit, reload, pause, resume: what patronictl has, over the
// members' REST interface.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <iostream>
#include <thread>

#include "cli/cluster_access.h"
#include "cli/commands.h"
#include "cli/complain.h"

namespace pgsteady::cli {
namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

constexpr auto kShort = 10s;
constexpr auto kLong = std::chrono::minutes(10);

struct Place {
  config::ClientConfig config;
  std::string scope;
  ClusterView cluster;
};

Result<Place> look_up(const OperateOptions& options) {
  auto config = client_config({options.config_path, options.dcs_url});
  if (!config) return tl::unexpected(config.error());
  auto scope = options.scope.empty() ? config->scope : options.scope;
  if (scope.empty()) {
    return fail(ErrorKind::refused, "which cluster was not said",
                "name its scope, or a configuration with -c");
  }
  auto cluster = read_cluster(*config, scope);
  if (!cluster) return tl::unexpected(cluster.error());
  if (cluster->members.empty()) {
    return fail(ErrorKind::not_found, fmt::format("cluster {} has no members", scope));
  }
  return Place{std::move(*config), scope, std::move(*cluster)};
}

// Without a terminal nobody can answer: then --force has to be given.
bool confirmed(const OperateOptions& options, const std::string& question) {
  if (options.force) return true;
  if (::isatty(STDIN_FILENO) == 0) {
    fmt::print(stderr, "pgsteady: not confirmed: {}\nhint: --force does not ask\n", question);
    return false;
  }
  fmt::print("{} [y/N]: ", question);
  std::fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

int report(const Result<http::Response>& answer, const std::string& who) {
  if (!answer) return complain(answer.error());
  bool good = answer->status < 300;
  fmt::print(good ? stdout : stderr, "{}: {}{}\n", who,
             good ? "" : fmt::format("status {}: ", answer->status), answer->body);
  return good ? 0 : 1;
}

// The leader first, then whoever answers.
int ask_anybody(const Place& place, const std::string& method, const std::string& path,
                const json::object& body, std::chrono::milliseconds limit) {
  auto members = place.cluster.members;
  const auto& leader = place.cluster.leader;
  std::stable_partition(members.begin(), members.end(), [&](const Member& member) {
    return leader && member.name == leader->name;
  });
  Result<http::Response> answer = fail(ErrorKind::retry, "no member has an address");
  for (const auto& member : members) {
    answer = ask_member(place.config, member, method, path, json::serialize(body), limit);
    if (answer) return report(answer, member.name);
  }
  return report(answer, "");
}

Result<std::vector<Member>> chosen_members(const Place& place, const OperateOptions& options) {
  std::vector<Member> chosen;
  for (const auto& member : place.cluster.members) {
    const auto& names = options.members;
    bool named = std::find(names.begin(), names.end(), member.name) != names.end();
    bool leads = place.cluster.leader && place.cluster.leader->name == member.name;
    bool fits = options.role.empty() || options.role == "any" ||
                (options.role == "replica" ? !leads : leads);
    if ((names.empty() || named) && fits) chosen.push_back(member);
  }
  for (const auto& name : options.members) {
    if (!place.cluster.member(name)) {
      return fail(ErrorKind::not_found, fmt::format("{} is not a member of {}", name, place.scope));
    }
  }
  return chosen;
}

std::string names_of(const std::vector<Member>& members) {
  std::string text;
  for (const auto& member : members) text += (text.empty() ? "" : ", ") + member.name;
  return text;
}

int ask_each(const OperateOptions& options, const std::string& verb, const std::string& path,
             const json::object& body) {
  auto place = look_up(options);
  if (!place) return complain(place.error());
  auto members = chosen_members(*place, options);
  if (!members) return complain(members.error());
  if (members->empty()) return complain({ErrorKind::not_found, "no member fits", ""});
  if (!confirmed(options, fmt::format("Are you sure you want to {} members {}?", verb,
                                      names_of(*members)))) {
    return 1;
  }
  int code = 0;
  for (const auto& member : *members) {
    auto answer = ask_member(place->config, member, "POST", path, json::serialize(body), kLong);
    code = std::max(code, report(answer, member.name));
  }
  return code;
}

bool all_say_pause(const ClusterView& cluster, bool pause) {
  return std::all_of(cluster.members.begin(), cluster.members.end(),
                     [&](const Member& member) { return member.pause == pause; });
}

int set_pause(const OperateOptions& options, bool pause) {
  auto place = look_up(options);
  if (!place) return complain(place.error());
  if (place->cluster.settings().pause == pause) {
    return complain(
        {ErrorKind::refused, pause ? "Cluster is already paused" : "Cluster is not paused", ""});
  }
  json::object body{{"pause", nullptr}};
  if (pause) body["pause"] = true;
  int code = ask_anybody(*place, "PATCH", "/config", body, kShort);
  if (code != 0 || !options.wait) return code;
  for (auto until = std::chrono::steady_clock::now() + 60s;
       std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(500ms)) {
    auto cluster = read_cluster(place->config, place->scope);
    if (cluster && all_say_pause(*cluster, pause)) {
      fmt::print("Success: cluster management is {}\n", pause ? "paused" : "resumed");
      return 0;
    }
  }
  return complain({ErrorKind::retry, "not all members have taken notice yet", "see pgsteady list"});
}

}  // namespace

int switchover(const OperateOptions& options) {
  auto place = look_up(options);
  if (!place) return complain(place.error());
  json::object body;
  auto leader = options.leader;
  if (leader.empty() && place->cluster.leader) leader = place->cluster.leader->name;
  body["leader"] = leader;
  if (!options.candidate.empty()) body["candidate"] = options.candidate;
  bool later = !options.scheduled.empty() && options.scheduled != "now";
  if (later) body["scheduled_at"] = options.scheduled;
  if (options.accept_loss) body["force"] = true;
  auto to = options.candidate.empty() ? "the best replica" : options.candidate;
  if (!confirmed(options,
                 fmt::format("Are you sure you want to switchover cluster {}, demoting "
                             "current leader {} in favour of {}{}?",
                             place->scope, leader, to, later ? " at " + options.scheduled : ""))) {
    return 1;
  }
  return ask_anybody(*place, "POST", "/switchover", body, 90s);
}

int failover(const OperateOptions& options) {
  auto place = look_up(options);
  if (!place) return complain(place.error());
  if (options.candidate.empty()) {
    return complain({ErrorKind::refused, "failover goes to a named candidate",
                     "--candidate NAME; see pgsteady list"});
  }
  json::object body{{"candidate", options.candidate}};
  if (options.accept_loss) body["force"] = true;
  if (!confirmed(options, fmt::format("Are you sure you want to failover cluster {} to {}{}?",
                                      place->scope, options.candidate,
                                      options.accept_loss ? ", though WAL may be lost" : ""))) {
    return 1;
  }
  return ask_anybody(*place, "POST", "/failover", body, 90s);
}

int restart(const OperateOptions& options) {
  json::object body;
  if (options.pending) body["restart_pending"] = true;
  if (!options.timeout.empty()) body["timeout"] = options.timeout;
  if (!options.pg_version.empty()) body["postgres_version"] = options.pg_version;
  if (!options.scheduled.empty() && options.scheduled != "now") {
    body["schedule"] = options.scheduled;
  }
  return ask_each(options, "restart", "/restart", body);
}

int reinit(const OperateOptions& options) {
  if (options.members.empty()) {
    return complain({ErrorKind::refused, "which member was not said", "name one, or more"});
  }
  json::object body;
  if (options.force) body["force"] = true;
  return ask_each(options, "reinitialize", "/reinitialize", body);
}

int reload(const OperateOptions& options) {
  return ask_each(options, "reload", "/reload", {});
}

int pause(const OperateOptions& options) {
  return set_pause(options, true);
}

int resume(const OperateOptions& options) {
  return set_pause(options, false);
}

}  // namespace pgsteady::cli
