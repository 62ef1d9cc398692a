// What people do to a cluster: switch over, restart, configure, add nodes and remove them. Most go
// to one node's REST interface, some straight into etcd, as patronictl does when no node answers.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "sim/agent.h"
#include "sim/faults.h"

namespace pgsteady::sim {
namespace {

using Kind = core::Request::Kind;

constexpr Duration kForcedSoon = seconds(60);  // a request is carried out by then, or never

std::string random_node(const Settings& settings, Rng& rng) {
  if (rng.one_in(4)) return "@leader";
  return "pg" + std::to_string(
                    1 + rng.below(std::uint64_t(settings.nodes) + std::uint64_t(settings.spares)));
}

std::vector<std::string> random_setting(Rng& rng) {
  using Words = std::vector<std::string>;
  const Words kChoices[] = {{"synchronous_mode", "true"},
                            {"synchronous_mode", "\"quorum\""},
                            {"synchronous_mode", "\"quorum\""},
                            {"synchronous_mode", "false"},
                            {"synchronous_mode_strict", "true"},
                            {"synchronous_mode_strict", "false"},
                            {"synchronous_node_count", "2"},
                            {"synchronous_node_count", "1"},
                            {"maximum_lag_on_failover", "1048576"},
                            {"maximum_lag_on_failover", "4194304"},
                            {"ttl", std::to_string(rng.between(2, 12))},
                            {"loop_wait", std::to_string(rng.between(1, 5))}};
  return kChoices[rng.below(std::size(kChoices))];
}

// From "synchronous_mode" "quorum", say: any JSON, or else a word.
boost::json::value json_of(const std::string& word) {
  boost::system::error_code error;
  auto value = boost::json::parse(word, error);
  return error ? boost::json::value(word) : value;
}

bool is_off(const std::string& value) {
  return value == "false" || value == "off" || value == "null";
}

}  // namespace

std::vector<Verb> verbs_of_people() {
  return {
      {"switchover", Target::people, 6, true, 0, 0},  // "@leader any", "pg2 pg3 10": in ten seconds
      {"cancel_switchover", Target::people, 0, true, 0, 0},
      {"failover", Target::people, 3, true, 0, 0},
      {"failover_key", Target::people, 2, true, 0, 0},
      {"restart", Target::people, 4, true, 0, 0},
      {"reinitialize", Target::people, 2, true, 0, 0},
      {"reload", Target::people, 2, true, 0, 0},
      {"set_config", Target::people, 3, true, 0, 0},
      {"configure", Target::people, 3, true, 0, 0},
      {"add_node", Target::people, 2, true, 0, 0},
      {"remove_node", Target::people, 1, false, 0, 0},
  };
}

std::vector<std::string> peoples_words(std::string_view verb, const Settings& settings, Rng& rng) {
  if (verb == "set_config" || verb == "configure") return random_setting(rng);
  if (verb == "add_node") return {"pg" + std::to_string(settings.nodes + settings.spares)};
  std::vector<std::string> words = {random_node(settings, rng)};
  if (verb == "switchover" || verb == "failover_key") {
    words.push_back(rng.one_in(2) ? "any" : random_node(settings, rng));
  }
  if (verb == "switchover" && rng.one_in(3)) words.push_back(std::to_string(rng.between(1, 20)));
  if (verb == "failover") words.push_back(random_node(settings, rng));
  if (verb == "failover" && rng.one_in(6)) words.emplace_back("force");
  return words;
}

// "any": nobody in particular.
MemberName Operator::member(const std::string& word) {
  auto found = place(word);
  return found < 0 ? MemberName() : cluster_.host(found).name();
}

// The node that is asked stands first.
void Operator::ask(const Step& step, core::Request request) {
  auto asked = step.arguments.empty() ? -1 : place(step.arguments[0]);
  if (asked < 0 || !cluster_.host(asked).agent_actor().runs()) return;
  cluster_.host(asked).agent()->ask(std::move(request));
}

void Operator::change_config(const std::string& key, const std::string& value) {
  const auto* config = cluster_.etcd.find("config");
  if (!config || !cluster_.etcd.available()) return;
  auto changed = boost::json::parse(config->value).as_object();
  changed[key] = json_of(value);
  cluster_.etcd.put_by_hand("config", boost::json::serialize(changed));
}

void Operator::give_up_lost_wal() {
  if (!cluster_.etcd.available() || cluster_.etcd.find("leader")) return;
  auto view = cluster_.etcd.view();
  auto newest = view->history.empty() ? 1 : view->history.back().timeline + 1;
  auto limit = std::uint64_t(view->settings().maximum_lag_on_failover_bytes);
  auto least = view->status ? view->status->optime : Lsn{};
  least.value -= std::min(least.value, limit);
  bool lost_timeline = view->settings().check_timeline;
  bool lost_wal = true;
  for (Place each = 0; each < cluster_.nodes(); ++each) {
    auto& host = cluster_.host(each);
    const auto& wal = host.disk().wal;
    if (!host.belongs() || wal.branch < 0) continue;
    if (cluster_.tree.timeline(wal.branch) >= newest) lost_timeline = false;
    if (wal.end >= least) lost_wal = false;
  }
  if (!lost_timeline && !lost_wal) return;
  cluster_.world.trace("NEMESIS", "nobody has the newest WAL");
  if (lost_timeline) change_config("check_timeline", "false");
  if (lost_wal) change_config("maximum_lag_on_failover", "1000000000");
}

Operator::Undo Operator::begin_by_people(const Step& step) {
  const auto& verb = step.verb;
  const auto& words = step.arguments;
  auto word = [&](std::size_t index) { return index < words.size() ? words[index] : ""; };
  core::Request request;
  request.force = !words.empty() && words.back() == "force";
  if (request.force) cluster_.checker.may_lose_all(cluster_.world.now() + kForcedSoon);
  if (verb == "set_config" || verb == "configure") {
    auto key = word(0);
    auto value = word(1);
    if (key == "synchronous_mode" && is_off(value)) {
      cluster_.checker.may_lose_all(cluster_.world.now() + kForcedSoon);
    }
    if (verb != "configure") {
      change_config(key, value);
      return nullptr;
    }
    request.kind = Kind::patch_config;
    request.config[key] = json_of(value);
    ask({step.at, verb, {"@leader"}, {}}, std::move(request));
  } else if (verb == "switchover" || verb == "failover") {
    request.kind = verb == "failover" ? Kind::failover : Kind::switchover;
    if (verb == "switchover") request.leader = member("@leader");
    request.candidate = member(word(1));
    if (auto ahead = number_of(step, 2); verb == "switchover" && ahead > 0) {
      request.scheduled_at = iso_time(wall_time(cluster_.world.now()) + seconds(ahead));
    }
    ask(step, std::move(request));
  } else if (verb == "failover_key" && cluster_.etcd.available()) {
    cluster_.etcd.put_by_hand(
        "failover", failover_to_json({member(word(0)), member(word(1)), {}, 0, request.force}));
  } else if (verb == "cancel_switchover") {
    request.kind = Kind::cancel_switchover;
    ask(step, std::move(request));
  } else if (verb == "restart") {
    request.kind = Kind::restart;
    request.timeout = seconds(60);
    ask(step, std::move(request));
  } else if (verb == "reinitialize" || verb == "reload") {
    request.kind = verb == "reload" ? Kind::reload : Kind::reinitialize;
    // Nobody gives a copy up while there is no primary.
    if (verb == "reload" || cluster_.primary() >= 0) ask(step, std::move(request));
  } else if (auto found = place(word(0)); found >= 0) {
    auto& host = cluster_.host(found);
    if (verb == "add_node") host.join();
    if (verb == "remove_node" && host.belongs() && cluster_.can_spare(found)) host.remove();
  }
  return nullptr;
}

}  // namespace pgsteady::sim
