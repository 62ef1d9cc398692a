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
  // A disk that hangs takes no file and gives none back, and would hang this process, which is to
  // thaw it: World::heal clears it.
  auto& disk = world.disk_of(node);
  if (disk.frozen()) return {"no disk to fill"};
  testing::fill_disk(disk.path());
  return {"fill the disk of " + node.name, [&disk] {
            if (!disk.frozen()) testing::clear_disk(disk.path());
          }};
}

}  // namespace

std::vector<FaultKind> disk_faults() {
  return {{"hang-disk", 3, true, false, hang}, {"fill-disk", 2, true, false, fill}};
}

}  // namespace pgsteady::chaos
