// Processes of nodes are killed, frozen or asked to end.
#include <fmt/format.h>

#include <csignal>

#include "chaos/fault.h"

namespace pgsteady::chaos {
namespace {

using Pids = std::vector<pid_t>;

Pids known(const Pids& pids) {  // there may be no such process at the moment
  Pids result;
  for (pid_t pid : pids) {
    if (pid != 0) result.push_back(pid);
  }
  return result;
}

Fault end(const Node& node, const Pids& pids, const std::string& what) {
  testing::kill_pids(known(pids), SIGKILL);
  return {fmt::format("kill {} of {}", what, node.name)};
}

Fault freeze(World& world, Dice& dice, const Node& node, const Pids& pids,
             const std::string& what) {
  world.freeze(known(pids));
  return {fmt::format("freeze {} of {}", what, node.name), [&world, pids, seed = dice.engine()()] {
            Dice order(seed);
            world.thaw(known(pids), order);
          }};
}

// A backend, walsender, checkpointer, startup process, ...
pid_t some_server_process(const Node& node, Dice& dice) {
  auto children = testing::children_of(node.postmaster());
  return children.empty() ? 0 : dice.one_of(children);
}

std::string title(pid_t pid) {
  auto arguments = testing::arguments_of(pid);
  return arguments.empty() ? "no process" : "'" + arguments[0].substr(0, 40) + "'";
}

Fault kill_postmaster(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  return end(node, {node.postmaster()}, "the postmaster");
}

Fault kill_server_process(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  const pid_t pid = some_server_process(node, dice);
  const auto what = title(pid);
  return end(node, {pid}, what);
}

Fault kill_agent(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  return end(node, {node.agent()}, "the agent");
}

Fault kill_guardian(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  return end(node, {node.guardian()}, "the guardian");
}

Fault kill_node(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  node.kill_everything();
  return {"kill everything of " + node.name, [&node] {
            if (!node.running()) node.start();
          }};
}

Fault kill_all_nodes(World& world, Dice&) {
  for (Node* node : world.nodes()) node->kill_everything();
  return {"kill everything of all nodes"};
}

Fault terminate_node(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  if (node.running()) node.process().signal(SIGTERM);
  return {"terminate " + node.name};
}

Fault freeze_postmaster(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  return freeze(world, dice, node, {node.postmaster()}, "the postmaster");
}

Fault freeze_server_process(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  const pid_t pid = some_server_process(node, dice);
  return freeze(world, dice, node, {pid}, title(pid));
}

Fault freeze_agent(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  return freeze(world, dice, node, {node.agent()}, "the agent");
}

Fault freeze_node(World& world, Dice& dice) {
  Node& node = world.a_node(dice);
  return freeze(world, dice, node, node.everything(), "everything");
}

}  // namespace

// The guardian alone is never frozen: docs/safety.md says why nothing is promised then.
std::vector<FaultKind> process_faults() {
  return {{"kill-postmaster", 3, false, false, kill_postmaster},
          {"kill-server-process", 2, false, false, kill_server_process},
          {"kill-agent", 3, false, false, kill_agent},
          {"kill-guardian", 2, true, true, kill_guardian},
          {"kill-node", 4, true, false, kill_node},
          {"kill-all-nodes", 1, true, false, kill_all_nodes},
          {"terminate", 4, false, false, terminate_node},
          {"freeze-postmaster", 2, true, false, freeze_postmaster},
          {"freeze-server-process", 2, true, false, freeze_server_process},
          {"freeze-agent", 3, true, false, freeze_agent},
          {"freeze-node", 4, true, true, freeze_node}};
}

}  // namespace pgsteady::chaos
