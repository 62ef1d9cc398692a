#include "sim/faults.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace pgsteady::sim {
namespace {

constexpr Duration kWaitedFor = seconds(6);  // primary_start_timeout, less what a stop takes

Duration milliseconds_of(const Step& step, std::size_t index) {
  if (index >= step.arguments.size()) return seconds(1);
  return milliseconds(parse_decimal(step.arguments[index]).value_or(1000));
}

// What of it touches no node and no link between nodes.
bool concerns_etcd_alone(const std::string& verb) {
  return verb.starts_with("etcd_") || verb == "elect" || verb == "depose" ||
         verb == "lose_answers" || verb == "cancel_watches" || verb == "hang_keepalives";
}

}  // namespace

int number_of(const Step& step, std::size_t index) {
  if (index >= step.arguments.size()) return 0;
  const auto& word = step.arguments[index];
  bool negative = word.starts_with('-');
  auto value = static_cast<int>(parse_decimal(negative ? word.substr(1) : word).value_or(0));
  return negative ? -value : value;
}

std::vector<Verb> verbs_of_faults() {
  return {
      // nodes
      {"power_off", Target::node, 6, false, 500, 60000},
      {"stop", Target::node, 6, true, 100, 40000},
      {"stop_all", Target::none, 1, true, 100, 5000},
      {"kill_agent", Target::node, 6, true, 0, 0},
      {"kill_guardian", Target::node, 2, false, 0, 0},
      {"freeze_agent", Target::node, 4, true, 200, 20000},
      {"freeze_loop", Target::node, 4, true, 200, 20000},
      {"kill_postmaster", Target::node, 6, true, 0, 0},
      {"freeze_server", Target::node, 3, false, 200, 30000},
      {"freeze_guardian", Target::node, 2, false, 200, 30000},
      {"thrash", Target::node, 3, false, 1000, 40000},
      {"freeze_host", Target::node, 3, false, 200, 40000},
      {"stop_clock", Target::node, 2, false, 200, 40000},
      {"drift", Target::node_and_number, 2, true, 1000, 100000},
      {"wall_clock", Target::node_and_number, 2, true, 1000, 100000},
      {"slow_recovery", Target::node_and_ms, 2, false, 1000, 60000},
      {"slow_shutdown", Target::node_and_ms, 2, false, 1000, 60000},
      {"slow_reaping", Target::node_and_ms, 2, true, 1000, 60000},
      {"stall_promotion", Target::node_and_ms, 2, false, 1000, 60000},
      {"hold_replay", Target::node, 2, true, 500, 30000},
      {"break_rewind", Target::node, 3, true, 1000, 90000},
      {"break_start", Target::node, 2, false, 1000, 30000},
      {"bulk_load", Target::node_and_number, 0, true, 0, 0},
      {"promote_by_hand", Target::node, 0, false, 0, 0},
      // network
      {"cut", Target::pair, 8, false, 100, 30000},
      {"cut_one_way", Target::pair, 5, false, 100, 30000},
      {"isolate", Target::node, 4, false, 100, 30000},
      {"slow_one_way", Target::pair_and_number, 2, false, 1000, 60000},
      {"slow", Target::pair_and_number, 3, false, 1000, 60000},
      {"lose", Target::pair_and_number, 3, false, 1000, 60000},
      // etcd
      {"etcd_stop", Target::etcd_member, 4, true, 500, 60000},
      {"etcd_stop_all", Target::none, 3, false, 200, 90000},
      {"etcd_freeze", Target::none, 3, false, 300, 30000},
      {"etcd_hang", Target::etcd_member, 3, true, 300, 20000},
      {"elect", Target::none, 3, true, 0, 0},
      {"depose", Target::none, 5, false, 300, 15000},
      {"hang_keepalives", Target::none, 0, false, 1000, 15000},
      {"lose_answers", Target::none, 3, true, 1000, 30000},
      {"cancel_watches", Target::none, 2, true, 0, 0},
      // people
      {"delete_key", Target::key, 2, false, 0, 0},
      {"revoke_leader", Target::none, 2, false, 0, 0},
      {"put_leader", Target::node, 1, false, 0, 0},
      {"set_ttl", Target::number, 2, true, 0, 0},
      {"pause", Target::none, 6, false, 2000, 120000},
      {"failsafe_off", Target::none, 1, true, 1000, 60000},
      {"client_off", Target::none, 2, true, 1000, 60000},
  };
}

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> kVerbs = [] {
    auto all = verbs_of_faults();
    for (const auto& verb : verbs_of_disks()) all.push_back(verb);
    for (const auto& verb : verbs_of_people()) all.push_back(verb);
    return all;
  }();
  return kVerbs;
}

const Verb* find_verb(std::string_view name) {
  for (const auto& verb : verbs()) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

// "pg2"; "@leader": the one that acknowledges now, or holds the key; "@replica", "@other": the
// first and the last of the others.
Place Operator::place(const std::string& word) {
  if (!word.starts_with('@')) return cluster_.place_of(word);
  auto leader = cluster_.primary();
  if (leader < 0) {
    const auto* key = cluster_.etcd.find("leader");
    leader = key ? cluster_.place_of(key->value) : 0;
  }
  if (word == "@leader") return leader;
  std::vector<Place> others;
  for (Place each = 0; each < cluster_.nodes(); ++each) {
    if (each != leader && cluster_.host(each).belongs()) others.push_back(each);
  }
  if (others.empty()) return leader;
  if (word == "@replica") return others.front();
  if (word == "@other") return others.back();
  return -1;
}

std::vector<Place> Operator::places(const std::string& word) {
  if (word == "etcd") {
    std::vector<Place> all;
    all.reserve(kEtcdMembers);
    for (int i = 0; i < kEtcdMembers; ++i) all.push_back(cluster_.etcd.place(i));
    return all;
  }
  if (word.starts_with("etcd"))
    return {cluster_.etcd.place(number_of({{}, {}, {word.substr(4)}, {}}, 0) % kEtcdMembers)};
  auto found = place(word);
  return found < 0 ? std::vector<Place>{} : std::vector<Place>{found};
}

void Operator::carry_out(const Step& step) {
  const auto* verb = find_verb(step.verb);
  if (!verb) return cluster_.world.violation("the plan is wrong: no such verb: " + step.verb);
  auto now = cluster_.world.now();
  // Whoever is away longer than others wait for it counts as lost.
  bool away = step.verb.starts_with("stop") && step.lasts > kWaitedFor;
  // Renewing stops a second after the agent hangs, and the shortest lease does not last until it is
  // killed and started anew.
  bool hung = step.verb.starts_with("freeze_") && cluster_.etcd.view()->settings().ttl < seconds(3);
  if (!verb->gentle || away || hung) cluster_.checker.may_lose(now + step.lasts);
  cluster_.world.trace("NEMESIS", "{}", step.text());
  std::vector<Place> touched;
  for (const auto& word : step.arguments) {
    auto found = place(word);
    if (found >= 0) touched.push_back(found);
  }
  if (touched.empty()) {
    for (Place each = 0; each < cluster_.nodes(); ++each) touched.push_back(each);
  }
  if (verb->target == Target::people && step.verb != "restart") touched.clear();
  for (auto each : touched) cluster_.host(each).disturbed(1);
  bool etcd_alone = concerns_etcd_alone(step.verb);
  cluster_.checker.fault(etcd_alone, 1);
  auto undo = begin(step);
  lasting_.push_back(
      [this, undo, touched, etcd_alone, text = step.text(), lasts = step.lasts.count() > 0] {
        if (lasts) cluster_.world.trace("NEMESIS", "over: {}", text);
        if (undo) undo();
        for (auto each : touched) cluster_.host(each).disturbed(-1);
        cluster_.checker.fault(etcd_alone, -1);
      });
  auto index = lasting_.size() - 1;
  cluster_.world.after(step.lasts, nullptr, [this, index] { end(index); });
}

void Operator::end(std::size_t index) {
  auto undo = std::exchange(lasting_[index], nullptr);
  if (undo) undo();
}

void Operator::heal() {
  cluster_.world.trace("NEMESIS", "everything heals");
  for (std::size_t i = 0; i < lasting_.size(); ++i) end(i);
  for (Place each = 0; each < cluster_.nodes(); ++each) cluster_.host(each).start();
  for (int i = 0; i < kEtcdMembers; ++i) cluster_.etcd.start_member(i);
  cluster_.set_client(true);
}

Operator::Undo Operator::begin(const Step& step) {
  const auto* verb = find_verb(step.verb);
  switch (verb->target) {
    case Target::people:
      return begin_by_people(step);
    case Target::disk: {
      auto found = step.arguments.empty() ? -1 : place(step.arguments[0]);
      return found < 0 ? nullptr : begin_on_disk(step, cluster_.host(found));
    }
    case Target::node:
    case Target::node_and_ms:
    case Target::node_and_number: {
      auto found = step.arguments.empty() ? -1 : place(step.arguments[0]);
      if (found < 0) return nullptr;
      if (step.verb == "isolate") return begin_on_network(step);
      return begin_on_host(step, cluster_.host(found));
    }
    case Target::pair:
    case Target::pair_and_number:
      return begin_on_network(step);
    default:
      return begin_on_etcd(step);
  }
}

Operator::Undo Operator::begin_on_host(const Step& step, Host& host) {
  const auto& verb = step.verb;
  if (verb == "power_off") {
    host.power_off();
    return [&host] { host.power_on(); };
  }
  if (verb == "stop") {
    host.stop();
    return [&host] { host.start(); };
  }
  if (verb == "kill_agent") {
    host.kill_agent();
    return nullptr;
  }
  if (verb == "kill_guardian") {
    host.kill_guardian();
    return nullptr;
  }
  if (verb == "freeze_agent") {
    host.freeze_agent(true);
    return [&host] { host.freeze_agent(false); };
  }
  if (verb == "freeze_loop") {
    host.freeze_loop(true);
    return [&host] { host.freeze_loop(false); };
  }
  if (verb == "freeze_server") {
    host.freeze_server(true);
    return [&host] { host.freeze_server(false); };
  }
  if (verb == "freeze_guardian") {
    host.freeze_guardian(true);
    return [&host] { host.freeze_guardian(false); };
  }
  if (verb == "thrash") {
    auto goes_on = std::make_shared<bool>(true);
    host.thrash(goes_on);
    return [goes_on] { *goes_on = false; };
  }
  if (verb == "freeze_host" || verb == "stop_clock") {
    bool clock_too = verb == "stop_clock";
    host.freeze(true, clock_too);
    return [&host, clock_too] { host.freeze(false, clock_too); };
  }
  if (verb == "kill_postmaster") {
    host.server().kill_postmaster();
    return nullptr;
  }
  if (verb == "drift") {
    auto before = host.clock().drift_ppm();
    host.set_drift(number_of(step, 1));
    return [&host, before] { host.set_drift(before); };
  }
  if (verb == "wall_clock") {
    host.set_wall_clock(seconds(number_of(step, 1)));
    return [&host] { host.set_wall_clock(seconds(0)); };
  }
  if (verb == "bulk_load") {
    host.server().bulk_load(std::uint64_t(number_of(step, 1)) << 20);
    return nullptr;
  }
  if (verb == "promote_by_hand") {
    // Until the agent's next look at its server nobody can prevent what it does.
    host.excuse(2 * milliseconds(cluster_.settings.loop_wait_ms) + seconds(1));
    host.server().promote_signal();
    return nullptr;
  }
  if (verb == "put_leader") {
    cluster_.etcd.put_by_hand("leader", host.name());
    return nullptr;
  }
  return begin_trouble(step, host);
}

Operator::Undo Operator::begin_trouble(const Step& step, Host& host) {
  auto& troubles = host.server().troubles();
  auto length = milliseconds_of(step, 1);
  Duration ServerTroubles::*member = nullptr;
  if (step.verb == "slow_recovery") member = &ServerTroubles::recovery;
  if (step.verb == "slow_shutdown") member = &ServerTroubles::shutdown;
  if (step.verb == "slow_reaping") member = &ServerTroubles::reaping;
  if (step.verb == "stall_promotion") member = &ServerTroubles::promotion;
  if (member) {
    troubles.*member = length;
    return [&troubles, member] { troubles.*member = Duration(0); };
  }
  if (step.verb == "hold_replay") {
    host.server().hold_replay(true);
    return [&host] { host.server().hold_replay(false); };
  }
  bool ServerTroubles::*broken =
      step.verb == "break_rewind" ? &ServerTroubles::breaks_rewind : &ServerTroubles::breaks_start;
  troubles.*broken = true;
  return [&troubles, broken] { troubles.*broken = false; };
}

}  // namespace pgsteady::sim
