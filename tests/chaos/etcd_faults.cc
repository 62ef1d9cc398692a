// etcd's processes die or freeze, and somebody meddles with its keys.
#include <fmt/format.h>

#include <stdexcept>

#include "chaos/fault.h"

namespace pgsteady::chaos {
namespace {

int a_member(World& world, Dice& dice) {
  return dice.between(0, world.etcd().members() - 1);
}

Fault kill_member(World& world, Dice& dice) {
  const int member = a_member(world, dice);
  world.etcd().stop(member);
  return {fmt::format("kill etcd{}", member), [&world, member] { world.etcd().start(member); }};
}

Fault freeze_member(World& world, Dice& dice) {
  const int member = a_member(world, dice);
  world.etcd().freeze(member);
  return {fmt::format("freeze etcd{}", member), [&world, member] { world.etcd().thaw(member); }};
}

Fault kill_all(World& world, Dice&) {
  world.etcd().stop_all();
  return {"kill all etcds", [&world] { world.etcd().start_all(); }};
}

Fault freeze_all(World& world, Dice&) {
  const auto each = [&world](void (Etcd::*what)(int)) {
    for (int i = 0; i < world.etcd().members(); ++i) (world.etcd().*what)(i);
  };
  each(&Etcd::freeze);
  return {"freeze all etcds", [each] { each(&Etcd::thaw); }};
}

// Not possible while etcd has no majority, and then left out.
Fault meddle(const std::string& what, const std::function<void()>& change) {
  try {
    change();
    return {what};
  } catch (const std::runtime_error&) {
    return {what + " (not possible)"};
  }
}

Fault delete_leader(World& world, Dice&) {
  return meddle("delete the leader key",
                [&] { world.etcd().remove(world.cluster().key("leader")); });
}

Fault overwrite_leader(World& world, Dice&) {
  return meddle("overwrite the leader key",
                [&] { world.etcd().put(world.cluster().key("leader"), "nobody"); });
}

}  // namespace

std::vector<FaultKind> etcd_faults() {
  return {{"kill-etcd", 2, true, false, kill_member},
          {"freeze-etcd", 2, true, false, freeze_member},
          {"kill-etcds", 2, true, false, kill_all},
          {"freeze-etcds", 2, true, false, freeze_all},
          {"delete-leader", 1, true, false, delete_leader},
          {"overwrite-leader", 1, true, false, overwrite_leader}};
}

}  // namespace pgsteady::chaos
