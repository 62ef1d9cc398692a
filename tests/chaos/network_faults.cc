// Links between hosts are cut, slowed down, or lose packets.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "chaos/fault.h"

namespace pgsteady::chaos {
namespace {

using Hosts = Network::Hosts;
using testing::Link;

const Hosts kEtcds = {"etcd0", "etcd1", "etcd2"};
const Hosts kNodes = {"pg1", "pg2", "pg3"};

Hosts without(const Hosts& all, const Hosts& some) {
  Hosts rest;
  std::copy_if(all.begin(), all.end(), std::back_inserter(rest), [&](const std::string& host) {
    return std::find(some.begin(), some.end(), host) == some.end();
  });
  return rest;
}

const Hosts& everybody() {
  static const Hosts hosts = without(Network::of_cluster(), {"eye"});
  return hosts;
}

std::string text(const Hosts& hosts) {
  return fmt::format("{}", fmt::join(hosts, "+"));
}

// Between two groups, in both directions or, now and then, in one of them.
Fault between(World& world, Dice& dice, const Hosts& some, const Hosts& others, Link link,
              const std::string& how) {
  const int ways = dice.between(0, 3);
  const auto set = [&world, some, others, ways](Link one) {
    for (const auto& a : some) {
      for (const auto& b : others) {
        if (a == b) continue;
        if (ways != 0) world.network().set(a, b, one);
        if (ways != 1) world.network().set(b, a, one);
      }
    }
  };
  set(link);
  const char* arrow = ways == 0 ? "<-" : ways == 1 ? "->" : "--";
  return {fmt::format("{} {} {} {}", text(some), arrow, text(others), how), [set] { set(Link{}); }};
}

Fault cut(World& world, Dice& dice, const Hosts& some, const Hosts& others) {
  return between(world, dice, some, others, {.cut = true}, "cut");
}

Fault isolate(World& world, Dice& dice) {
  const Hosts alone = {world.a_node(dice).name};
  return cut(world, dice, alone, without(everybody(), alone));
}

Fault no_etcd(World& world, Dice& dice) {
  return cut(world, dice, {world.a_node(dice).name}, kEtcds);
}

Fault one_etcd_left(World& world, Dice& dice) {
  return cut(world, dice, {world.a_node(dice).name}, without(kEtcds, {dice.one_of(kEtcds)}));
}

Fault nodes_apart(World& world, Dice& dice) {
  const auto node = world.a_node(dice).name;
  const auto others = without(kNodes, {node});
  return cut(world, dice, {node}, dice.chance(0.5) ? others : Hosts{dice.one_of(others)});
}

Fault etcd_apart(World& world, Dice& dice) {
  const auto etcd = dice.one_of(kEtcds);
  return cut(world, dice, {etcd}, without(kEtcds, {etcd}));
}

Fault minority(World& world, Dice& dice) {
  Hosts side = {world.a_node(dice).name, dice.one_of(kEtcds)};
  if (dice.chance(0.3)) side.emplace_back("client");
  return cut(world, dice, side, without(everybody(), side));
}

Fault etcds_from_all_nodes(World& world, Dice& dice) {
  return cut(world, dice, kNodes, kEtcds);
}

Fault no_client(World& world, Dice& dice) {
  return cut(world, dice, {"client"}, {world.a_node(dice).name});
}

Fault slow(World& world, Dice& dice) {
  const Millis delay(dice.between(20, 400));
  const auto node = world.a_node(dice).name;
  const auto& others = dice.chance(0.6) ? kEtcds : everybody();
  return between(world, dice, {node}, others, {.delay = delay},
                 fmt::format("slow by {} ms", delay.count()));
}

Fault lossy(World& world, Dice& dice) {
  const double loss = dice.between(2, 40) / 100.0;
  const Hosts some = dice.chance(0.3) ? everybody() : Hosts{world.a_node(dice).name};
  return between(world, dice, some, everybody(), {.loss = loss},
                 fmt::format("loses {:.0f} %", loss * 100));
}

}  // namespace

std::vector<FaultKind> network_faults() {
  return {{"isolate", 3, true, false, isolate},
          {"no-etcd", 4, true, false, no_etcd},
          {"one-etcd-left", 2, true, false, one_etcd_left},
          {"nodes-apart", 3, true, false, nodes_apart},
          {"etcd-apart", 2, true, false, etcd_apart},
          {"minority", 3, true, false, minority},
          {"etcds-from-all", 2, true, false, etcds_from_all_nodes},
          {"no-client", 1, false, false, no_client},
          {"slow", 3, true, false, slow},
          {"lossy", 3, true, false, lossy}};
}

}  // namespace pgsteady::chaos
