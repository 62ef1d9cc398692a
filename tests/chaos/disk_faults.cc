// The file system under a node's data directory hangs or is full.
#include "chaos/fault.h"

namespace pgsteady::chaos {
namespace {

Fault hang(World& world, Dice& dice) {
  const Node& node = world.a_node(dice);
  if (!world.has_disks()) return {"no disk to hang"};
  auto& disk = world.disk_of(node);
  disk.freeze();
  return {"hang the disk of " + node.name, [&disk] { disk.thaw(); }};
}

Fault fill(World& world, Dice& dice) {
  const Node& node = world.a_node(dice);
  if (!world.has_disks()) return {"no disk to fill"};
  const auto path = world.disk_of(node).path();
  testing::fill_disk(path);
  return {"fill the disk of " + node.name, [path] { testing::clear_disk(path); }};
}

}  // namespace

std::vector<FaultKind> disk_faults() {
  return {{"hang-disk", 3, true, false, hang}, {"fill-disk", 2, true, false, fill}};
}

}  // namespace pgsteady::chaos
