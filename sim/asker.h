// The asking thread of a simulated agent: asks the others for promises while the lease cannot be
// renewed, over the simulated network, as src/agent/asker does. lease::FailsafeRound says what the
// answers are worth.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "core/observation.h"
#include "lease/failsafe.h"
#include "sim/world.h"

namespace pgsteady::sim {

class Host;

class Asker {
 public:
  struct Hooks {
    std::function<void(const lease::Epoch&, lease::Instant deadline, Duration ttl)> extend;
    std::function<bool()> may_ask;
    std::function<void(const core::FailsafeFacts&)> report;
  };
  Asker(Host& host, Hooks hooks) : host_(host), hooks_(std::move(hooks)) {}

  void task(const std::optional<core::FailsafeTask>& task);
  void renewed(const lease::Epoch& epoch, lease::Instant held_until);

 private:
  void adopt(const core::FailsafeTask& task);
  void drop();
  lease::Instant due() const;
  void schedule();
  void look();
  void begin_round();
  void ask(const std::string& other, int there);
  void send_question(int there, std::uint64_t id);
  void answered(std::uint64_t id, std::optional<Duration> promised);
  void tell();

  Host& host_;
  Hooks hooks_;
  lease::Epoch allowed_;        // of the present task
  lease::Epoch renewed_epoch_;  // whose lease was renewed last
  lease::Instant renewed_until_{};
  std::map<std::string, int> places_;
  lease::FailsafeRound round_;
  lease::Instant round_began_{};
  std::uint64_t timer_ = 0;
  std::optional<lease::Instant> told_;
};

}  // namespace pgsteady::sim
