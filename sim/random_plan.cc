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
      constexpr const char* kKeys[] = {"leader",  "leader",      "leader",   "status", "history",
                                       "release", "members/pg1", "failover", "sync"};
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

// Some runs have members with tags, or a limit that is exceeded soon.
void vary(Rng& rng, Settings& settings) {
  if (rng.one_in(3)) add_tags(rng, settings);
  if (rng.one_in(6)) settings.maximum_lag_bytes = 5000;
}

// A loss that an operator has to make up for: of the only data that may lead, of WAL that is then
// waited for, or of the newest timeline, which check_timeline waits for.
bool disks_are_precious(const Settings& settings) {
  bool tagged = std::any_of(settings.tags.begin(), settings.tags.end(),
                            [](const auto& entry) { return entry.second.nofailover(); });
  return tagged || settings.check_timeline ||
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
  vary(varied, plan.settings);
  if (disks_are_precious(plan.settings)) {
    std::erase_if(plan.steps, [](const Step& step) {
      return step.verb == "lose_disk" || step.verb == "remove_node";
    });
  }
  std::stable_sort(plan.steps.begin(), plan.steps.end(),
                   [](const Step& a, const Step& b) { return a.at < b.at; });
  return plan;
}

}  // namespace pgsteady::sim
