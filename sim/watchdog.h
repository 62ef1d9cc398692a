// A host's watchdog device, and how its guardian feeds it, as src/guard/watchdog.cc does where one
// is required. What the device counts is true time.
#pragma once

#include <functional>

#include "lease/watchdog.h"
#include "sim/world.h"

namespace pgsteady::sim {

class Watchdog {
 public:
  // `reset`: the host goes.
  Watchdog(World& world, std::function<void()> reset) : world_(world), reset_(std::move(reset)) {}

  // --- its guardian ------------------------------------------------------------------------------
  void start(lease::Duration ttl);
  void feed(lease::Instant now, lease::Instant deadline);
  void stop();
  void abandon() { open_ = false; }  // the guardian died: the device goes on counting
  lease::Instant next_feed() const { return open_ ? next_feed_ : lease::Instant::max(); }

  // --- its host ----------------------------------------------------------------------------------
  void power_off();
  void suspend(bool suspended);  // with the host's clocks

 private:
  void count(int seconds);

  World& world_;
  std::function<void()> reset_;
  bool open_ = false;
  bool counts_ = false;
  bool suspended_ = false;
  int usual_ = 0, timeout_ = 0;
  lease::Duration ttl_{};
  lease::Instant next_feed_{};
  std::uint64_t fed_ = 0;
};

}  // namespace pgsteady::sim
