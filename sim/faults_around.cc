// What is done around the nodes: to the network, to etcd and its keys, to all nodes at once.
#include "sim/faults.h"

namespace pgsteady::sim {

Operator::Undo Operator::begin_on_network(const Step& step) {
  auto& network = cluster_.network;
  std::vector<std::pair<Place, Place>> ways;
  auto from = places(step.arguments[0]);
  std::vector<Place> to;
  if (step.verb == "isolate") {
    for (Place each = 0; each < cluster_.nodes() + kEtcdMembers; ++each) {
      if (each != from[0]) to.push_back(each);
    }
  } else if (step.arguments.size() > 1) {
    to = places(step.arguments[1]);
  }
  for (auto a : from) {
    for (auto b : to) {
      if (a == b) continue;
      ways.emplace_back(a, b);
      if (!step.verb.ends_with("_one_way")) ways.emplace_back(b, a);
    }
  }
  auto number = number_of(step, 2);
  for (auto [a, b] : ways) {
    if (step.verb.starts_with("slow"))
      network.slow(a, b, milliseconds(number));
    else if (step.verb == "lose")
      network.lose(a, b, number);
    else
      network.cut(a, b);
  }
  return [&network, ways, verb = step.verb] {
    for (auto [a, b] : ways) {
      if (verb.starts_with("slow"))
        network.slow(a, b, {});
      else if (verb == "lose")
        network.lose(a, b, 0);
      else
        network.mend(a, b);
    }
  };
}

Operator::Undo Operator::begin_on_etcd(const Step& step) {
  auto& etcd = cluster_.etcd;
  const auto& verb = step.verb;
  if (verb == "etcd_stop") {
    auto member = number_of(step, 0) % kEtcdMembers;
    etcd.stop_member(member);
    return [&etcd, member] { etcd.start_member(member); };
  }
  if (verb == "etcd_stop_all") {
    for (int i = 0; i < kEtcdMembers; ++i) etcd.stop_member(i);
    return [&etcd] {
      for (int i = 0; i < kEtcdMembers; ++i) etcd.start_member(i);
    };
  }
  if (verb == "stop_all") {
    for (Place each = 0; each < cluster_.nodes(); ++each) cluster_.host(each).stop();
    return [this] {
      for (Place each = 0; each < cluster_.nodes(); ++each) cluster_.host(each).start();
    };
  }
  if (verb == "client_off") {
    cluster_.set_client(false);
    return [this] { cluster_.set_client(true); };
  }
  if (verb == "hang_keepalives") {
    etcd.hang_keepalives(true);
    return [&etcd] { etcd.hang_keepalives(false); };
  }
  if (verb == "lose_answers") {
    etcd.lose_answers(500);
    return [&etcd] { etcd.lose_answers(0); };
  }
  if (verb == "set_ttl" || verb == "pause" || verb == "failsafe_off") return begin_on_config(step);
  if (verb == "etcd_hang") {
    auto member = number_of(step, 0) % kEtcdMembers;
    etcd.hang_member(member, true);
    return [&etcd, member] { etcd.hang_member(member, false); };
  }
  if (verb == "etcd_freeze") {
    etcd.freeze(true);
    return [&etcd] { etcd.freeze(false); };
  }
  if (verb == "elect") etcd.elect();
  if (verb == "depose") etcd.depose(step.lasts);
  if (verb == "cancel_watches") etcd.cancel_watches();
  if (verb == "delete_key") {
    auto key = step.arguments.empty() ? "leader" : step.arguments[0];
    if (key == "sync") cluster_.checker.may_lose_all(cluster_.world.now());
    etcd.delete_key(key);
  }
  if (verb == "revoke_leader") {
    if (const auto* key = etcd.find("leader")) etcd.revoke_by_hand(key->lease);
  }
  return nullptr;
}

}  // namespace pgsteady::sim
