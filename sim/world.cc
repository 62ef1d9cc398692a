#include "sim/world.h"

#include <utility>

namespace pgsteady::sim {

void World::at(Moment when, Actor* actor, Task task) {
  std::uint32_t slot = 0;
  if (free_.empty()) {
    slot = static_cast<std::uint32_t>(pending_.size());
    pending_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  pending_[slot] = {actor, actor ? actor->life() : 0, std::move(task)};
  queue_.push({std::max(when, now_), next_number_++, slot});
}

void World::happen(const Event& event) {
  auto pending = std::move(pending_[event.slot]);
  pending_[event.slot].task = nullptr;
  free_.push_back(event.slot);
  if (pending.actor) {
    if (!pending.actor->alive() || pending.actor->life() != pending.life) return;
    if (pending.actor->frozen()) {
      pending.actor->held_.push_back(std::move(pending.task));
      return;
    }
  }
  ++events_;
  mix(static_cast<std::uint64_t>(event.at.time_since_epoch().count()));
  pending.task();
}

void World::thaw(Actor& actor) {
  if (actor.freezes_ == 0 || --actor.freezes_ > 0) return;
  auto held = std::exchange(actor.held_, {});
  for (auto& task : held) at(now_, &actor, std::move(task));
}

void World::run_until(Moment end) {
  while (!stopped_ && !queue_.empty() && queue_.top().at <= end) {
    auto event = queue_.top();
    queue_.pop();
    now_ = event.at;
    happen(event);
  }
  if (!stopped_) now_ = std::max(now_, end);
}

void World::record(std::string_view who, const std::string& text) {
  for (char c : who) mix(static_cast<unsigned char>(c));
  for (char c : text) mix(static_cast<unsigned char>(c));
  if (on_line) on_line(fmt::format("{:11.6f} {:6} {}", in_seconds(now_), who, text));
}

void World::violation(std::string what) {
  trace("CHECK", "violated: {}", what);
  violations_.push_back(fmt::format("at {:.3f} s: {}", in_seconds(now_), what));
  stop();
}

}  // namespace pgsteady::sim
