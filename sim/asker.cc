#include "sim/asker.h"

#include <algorithm>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kLeastGain = milliseconds(200);

Duration answer_limit(Duration ttl) {
  return std::clamp<Duration>(ttl / 4, milliseconds(300), milliseconds(1000));
}

}  // namespace

// By the loop: what is allowed changes at once, the thread hears of it a moment later.
void Asker::task(const std::optional<core::FailsafeTask>& task) {
  allowed_ = task ? task->epoch : lease::Epoch{};
  host_.cluster().world.after(microseconds(10), &host_.threads_actor(),
                              [this, task] { task ? adopt(*task) : drop(); });
}

void Asker::renewed(const lease::Epoch& epoch, lease::Instant held_until) {
  renewed_epoch_ = epoch;
  renewed_until_ = held_until;
}

void Asker::adopt(const core::FailsafeTask& task) {
  places_.clear();
  std::vector<std::string> others;
  for (const auto& [name, url] : task.others) {
    others.push_back(name);
    if (auto address = host_port_of_url(url)) places_[name] = place_of_address(*address);
  }
  round_.adopt(task.epoch, task.ttl, std::move(others));
  tell();
  schedule();
}

void Asker::drop() {
  places_.clear();
  round_.drop();
  ++timer_;
  tell();
}

lease::Instant Asker::due() const {
  if (renewed_epoch_ != round_.epoch()) return host_.now();
  return lease::failsafe_due(renewed_until_, round_.ttl());
}

void Asker::schedule() {
  auto next = std::max(due(), round_began_ + lease::renewal_interval(round_.ttl()));
  auto timer = ++timer_;
  // Not a moment too early, or it would come at the same moment for ever.
  host_.after(next - host_.now() + microseconds(1), host_.threads_actor(), [this, timer] {
    if (timer == timer_ && round_.epoch()) look();
  });
}

void Asker::look() {
  bool late = host_.now() >= due();
  if (late && hooks_.may_ask()) begin_round();
  if (late) round_began_ = host_.now();
  schedule();
}

void Asker::begin_round() {
  round_.begin(host_.now());
  for (const auto& other : round_.others()) {
    auto there = places_.find(other);
    if (there != places_.end() && there->second >= 0) ask(other, there->second);
  }
  tell();
}

void Asker::ask(const std::string& other, Place there) {
  auto id = round_.asked(other, host_.now());
  send_question(there, id);
  host_.after(answer_limit(round_.ttl()), host_.threads_actor(), [this, id] { round_.failed(id); });
}

void Asker::send_question(Place there, std::uint64_t id) {
  auto& network = host_.cluster().network;
  auto* self = &host_;
  auto* peer = &host_.cluster().host(there);
  auto life = self->threads_actor().life();
  auto epoch = *round_.epoch();
  auto length = round_.length();
  network.send(self->place(), there, &peer->threads_actor(), false, [=, this, &network] {
    auto promised = peer->agent()->asked_for_promise(self->name(), epoch, length);
    if (self->threads_actor().life() != life) return;  // whoever asked has ended
    network.send(there, self->place(), &self->threads_actor(), false,
                 [this, id, promised] { answered(id, promised); });
  });
}

void Asker::answered(std::uint64_t id, std::optional<Duration> promised) {
  if (!promised) return round_.failed(id);
  round_.promised(id, *promised);
  tell();
}

void Asker::tell() {
  auto until = round_.held_until();
  if (until == told_) return;
  told_ = until;
  auto epoch = round_.epoch().value_or(lease::Epoch{});
  if (until && *until > host_.now() + kLeastGain && allowed_ == epoch) {
    hooks_.extend(epoch, *until, round_.ttl());
    host_.cluster().world.reached("a leader lived on promises");
  }
  hooks_.report({epoch, until});
}

}  // namespace pgsteady::sim
