// Random plans: a mood for the whole run, then faults drawn by weight, often two or three close
// together, since one alone is rarely what breaks things.
#include <algorithm>

#include "sim/faults.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kQuietStart = seconds(15);
constexpr Duration kLength = seconds(600);

// Times that are neither all short nor all long.
Duration uneven(Rng& rng, int shortest_ms, int longest_ms) {
  if (longest_ms == 0) return Duration(0);
  double span = static_cast<double>(longest_ms) / shortest_ms;
  double part = static_cast<double>(rng.below(1'000'001)) / 1e6;
  // No pow(): its last bits differ between machines.
  double length = shortest_ms;
  while (part > 0 && span > 1) {
    double step = std::min(part, 0.1);
    length *= 1 + (span - 1) * step * step;
    part -= step;
  }
  return milliseconds(std::min<std::int64_t>(static_cast<std::int64_t>(length), longest_ms));
}

std::string node(Rng& rng, int nodes) {
  switch (rng.below(8)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return "@leader";
    case 4:
      return "@replica";
    default:
      return "pg" + std::to_string(1 + rng.below(static_cast<std::uint64_t>(nodes)));
  }
}

std::string other_end(Rng& rng, int nodes) {
  if (rng.one_in(3)) return "etcd" + std::to_string(rng.below(kEtcdMembers));
  return rng.one_in(2) ? "etcd" : node(rng, nodes);
}

std::vector<std::string> arguments_of(const Verb& verb, Rng& rng, const Settings& settings) {
  std::string name = verb.name;
  auto nodes = settings.nodes;
  switch (verb.target) {
    case Target::none:
      return {};
    case Target::node:
    case Target::disk:
      return {node(rng, nodes)};
    case Target::node_and_ms:
      return {node(rng, nodes), std::to_string(rng.between(200, 20000))};
    case Target::node_and_number:
      return {node(rng, nodes), std::to_string(rng.between(-47000, 47000))};
    case Target::pair:
      if (rng.one_in(2) && name == "cut_one_way") return {other_end(rng, nodes), node(rng, nodes)};
      return {node(rng, nodes), other_end(rng, nodes)};
    case Target::pair_and_number:
      return {node(rng, nodes), other_end(rng, nodes), std::to_string(rng.between(10, 900))};
    case Target::etcd_member:
      return {std::to_string(rng.below(kEtcdMembers))};
    case Target::people:
      return peoples_words(name, settings, rng);
    case Target::number:
      return {std::to_string(rng.between(2, 12))};
    case Target::key: {
      constexpr const char* kKeys[] = {"leader",  "leader",  "leader",      "status",
                                       "history", "release", "members/pg1", "failover",
                                       "sync",    "config",  "initialize"};
      return {kKeys[rng.below(std::size(kKeys))]};
    }
  }
  return {};
}

const Verb& draw(Rng& rng, bool gentle) {
  int sum = 0;
  for (const auto& verb : verbs()) {
    if (!gentle || verb.gentle) sum += verb.weight;
  }
  auto left = static_cast<int>(rng.below(static_cast<std::uint64_t>(sum)));
  for (const auto& verb : verbs()) {
    if (gentle && !verb.gentle) continue;
    left -= verb.weight;
    if (left < 0) return verb;
  }
  return verbs().front();
}

Settings random_settings(Rng& rng) {
  constexpr int kTtls[] = {2, 3, 5, 5, 5, 5, 10, 30};
  constexpr int kLoopWaits[] = {500, 1000, 1000, 1000, 2000, 10000};
  Settings settings;
  settings.ttl_seconds = kTtls[rng.below(std::size(kTtls))];
  settings.loop_wait_ms = kLoopWaits[rng.below(std::size(kLoopWaits))];
  settings.nodes = rng.one_in(6) ? 2 : 3;
  settings.check_timeline = rng.one_in(4);
  settings.failsafe = !rng.one_in(4);
  settings.client_pause = milliseconds(rng.between(100, 1500));
  settings.spares = rng.one_in(4) ? 1 : 0;
  if (rng.one_in(3)) {
    settings.synchronous = rng.one_in(2) ? SynchronousMode::on : SynchronousMode::quorum;
    settings.strict = rng.one_in(4);
    settings.sync_nodes = rng.one_in(3) ? 2 : 1;
  }
  return settings;
}

// A node that may not lead, or had better, or hangs on another replica.
void add_tags(Rng& rng, Settings& settings) {
  auto name = "pg" + std::to_string(1 + rng.below(static_cast<std::uint64_t>(settings.nodes)));
  auto other = "pg" + std::to_string(1 + rng.below(static_cast<std::uint64_t>(settings.nodes)));
  auto& tags = settings.tags[name].values;
  switch (rng.below(5)) {
    case 0:
      tags["nofailover"] = true;
      break;
    case 1:
      tags["failover_priority"] = 0;
      break;
    case 2:
      tags["failover_priority"] = 2;
      break;
    default:
      tags["replicatefrom"] = other;
  }
}

// In a synchronous mode whoever has lost what was acknowledged waits for an operator.
bool may_be_synchronous(const Plan& plan) {
  auto switches = [](const Step& step) {
    return !step.arguments.empty() && step.arguments[0] == "synchronous_mode";
  };
  return plan.settings.synchronous != SynchronousMode::off ||
         std::any_of(plan.steps.begin(), plan.steps.end(), switches);
}

bool some_may_not_lead(const Settings& settings) {
  return std::any_of(settings.tags.begin(), settings.tags.end(),
                     [](const auto& entry) { return entry.second.nofailover(); });
}

void leave_out(Plan& plan, const std::vector<std::string>& verbs) {
  std::erase_if(plan.steps, [&](const Step& step) {
    return std::find(verbs.begin(), verbs.end(), step.verb) != verbs.end();
  });
}

// The leader alone gets much WAL, and its disk is set back to an image from before. Of an empty
// node, a new one too, only an operator can say that it has nothing more.
void add_set_back(Rng& rng, Plan& plan) {
  leave_out(plan, {"add_node"});
  auto at = rng.between(seconds(30), seconds(500));
  auto add = [&](Duration after, const char* verb, std::vector<std::string> words, Duration lasts) {
    auto when = std::chrono::duration_cast<milliseconds>(at + after);
    plan.steps.push_back({when, verb, std::move(words), lasts});
  };
  for (int i = 1; i <= plan.settings.nodes; ++i) {
    add(seconds(0), "snapshot", {"pg" + std::to_string(i)}, seconds(0));
  }
  add(seconds(1), "cut", {"@leader", "@replica"}, seconds(25));
  add(seconds(1), "cut", {"@leader", "@other"}, seconds(25));
  add(seconds(3), "bulk_load", {"@leader", "1"}, seconds(0));
  add(seconds(16), "restore", {"@leader"}, seconds(rng.between(1, 30)));
}

// Some runs have members with tags, or a limit that is exceeded soon.
void vary(Rng& rng, Plan& plan) {
  if (rng.one_in(3)) add_tags(rng, plan.settings);
  plan.settings.watchdog = rng.one_in(3);
  if (!rng.one_in(6)) return;
  plan.settings.maximum_lag_bytes = 5000;
  bool waits = may_be_synchronous(plan) || some_may_not_lead(plan.settings);
  // Without the failsafe key nobody may know who else could have led.
  if (!waits && plan.settings.failsafe && rng.one_in(2)) add_set_back(rng, plan);
}

// A loss that an operator has to make up for: of the only data that may lead, of WAL that is then
// waited for, or of the newest timeline, which check_timeline waits for.
bool disks_are_precious(const Settings& settings) {
  return some_may_not_lead(settings) || settings.check_timeline ||
         settings.maximum_lag_bytes < Settings{}.maximum_lag_bytes;
}

}  // namespace

Plan random_plan(std::uint64_t seed) {
  Rng rng = Rng(seed ^ 0x5851f42d4c957f2dULL).fork();
  Plan plan;
  plan.seed = seed;
  plan.settings = random_settings(rng);
  plan.length = kLength;
  bool gentle = rng.one_in(4);
  auto bursts = rng.between(3, 8);
  for (std::int64_t burst = 0; burst < bursts; ++burst) {
    auto at = rng.between(kQuietStart, kLength - seconds(60));
    auto faults = rng.between(std::int64_t{2}, std::int64_t{4});
    for (std::int64_t fault = 0; fault < faults; ++fault) {
      const auto& verb = draw(rng, gentle);
      auto ms = std::chrono::duration_cast<milliseconds>(at);
      plan.steps.push_back({ms, verb.name, arguments_of(verb, rng, plan.settings),
                            uneven(rng, verb.shortest_ms, verb.longest_ms)});
      at += rng.between(milliseconds(0), rng.one_in(2) ? seconds(2) : seconds(12));
    }
  }
  Rng varied(seed ^ 0xd1b54a32d192ed03ULL);
  vary(varied, plan);
  // Whom the sync key names may change before the last process lets go of the files.
  if (may_be_synchronous(plan)) leave_out(plan, {"unlink_data"});
  if (disks_are_precious(plan.settings)) {
    leave_out(plan, {"lose_disk", "lose_data", "unlink_data", "remove_node"});
  }
  std::stable_sort(plan.steps.begin(), plan.steps.end(),
                   [](const Step& a, const Step& b) { return a.at < b.at; });
  return plan;
}

}  // namespace pgsteady::sim
