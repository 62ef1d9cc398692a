// A node's wall clock is set. Nothing rests on it but what people are shown.
#include <fmt/format.h>

#include "chaos/fault.h"

namespace pgsteady::chaos {
namespace {

constexpr int kHour = 3600;

Fault jump(World& world, Dice& dice) {
  const auto node = world.a_node(dice).name;
  const std::chrono::seconds ahead(dice.between(-kHour, kHour));
  if (!world.clocks()) return {"no clock to set"};
  world.clocks()->set(node, ahead);
  return {fmt::format("set the clock of {} by {} s", node, ahead.count()),
          [&world, node] { world.clocks()->set(node, std::chrono::seconds(0)); }};
}

}  // namespace

std::vector<FaultKind> clock_faults() {
  return {{"clock", 3, false, false, jump}};
}

}  // namespace pgsteady::chaos
