#include "sim/network.h"

#include <algorithm>
#include <utility>

namespace pgsteady::sim {
namespace {

constexpr Duration kFastest = microseconds(100);
constexpr Duration kSlowest = microseconds(900);
constexpr std::size_t kHeldLimit = 64;
constexpr std::uint64_t kTwice = 200;  // of so many single messages one arrives twice

}  // namespace

Network::Network(World& world, int places)
    : world_(world),
      places_(places),
      rng_(world.rng().fork()),
      links_(static_cast<std::size_t>(places * places)) {}

void Network::send(Place from, Place to, Actor* receiver, bool stream, Task task) {
  auto& way = link(from, to);
  if (way.cuts > 0) {
    // Three in four of the single calls are given up before TCP gets through again.
    bool kept = stream || rng_.one_in(4);
    if (!kept || way.held.size() >= kHeldLimit) return;
    way.held.push_back({receiver, {receiver ? receiver->life() : 0, std::move(task)}});
    return;
  }
  if (!stream && way.lost_per_mille > 0 && rng_.below(1000) < std::uint64_t(way.lost_per_mille)) {
    return;
  }
  if (!stream && rng_.one_in(kTwice)) arrive(way, receiver, stream, task);
  arrive(way, receiver, stream, std::move(task));
}

void Network::arrive(Link& way, Actor* receiver, bool stream, Task task) {
  auto when = world_.now() + rng_.between(kFastest, kSlowest) + way.delay;
  if (stream) {
    when = std::max(when, way.last_arrival + std::chrono::nanoseconds(1));
    way.last_arrival = when;
  }
  world_.at(when, receiver, std::move(task));
}

bool Network::was_whole(Place a, Place b, Duration length) const {
  for (const auto* way : {&link(a, b), &link(b, a)}) {
    bool well = way->cuts == 0 && way->delay == Duration(0) && way->lost_per_mille == 0;
    if (!well || world_.now() - way->touched <= length) return false;
  }
  return true;
}

void Network::mend(Place from, Place to) {
  auto& way = link(from, to);
  way.touched = world_.now();
  if (way.cuts == 0 || --way.cuts > 0) return;
  for (auto& [receiver, message] : std::exchange(way.held, {})) {
    if (receiver && receiver->life() != message.first) continue;
    arrive(way, receiver, true, std::move(message.second));
  }
}

}  // namespace pgsteady::sim
