// What the guardian's tests share: a world around its rules that does what they say. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "lease/guardian.h"

namespace pgsteady::lease::testing {

using namespace std::chrono_literals;
using Ask = Request::Kind;
using Do = Action::Kind;
using Told = Notice::Kind;

constexpr Epoch kEpoch{77, 10};
constexpr Duration kTtl = 5s;

// Plays the system: what is started starts, what is killed dies when the test says so.
struct House {
  Guardian guardian{GuardianOptions{8500ms}};
  Instant now{1000s};
  Actions seen;
  std::size_t left = 3;  // processes of the server that a sweep still finds

  House() { run(guardian.begin(now)); }

  void run(const Actions& actions) {
    for (const auto& action : actions) {
      seen.push_back(action);
      if (action.kind == Do::start_agent) guardian.agent_started(now);
      if (action.kind == Do::start_server) run(guardian.server_started(100, now));
      if (action.kind == Do::start_job) guardian.job_started(action.job, now);
      if (action.kind == Do::kill_server) run(guardian.swept(left, now));
    }
  }
  void ask(const Request& request) { run(guardian.asked(guardian.generation(), request, now)); }
  void ask(Ask kind) { ask(Request{.kind = kind}); }
  void hello() { ask(Ask::hello); }
  void arm(Epoch epoch = kEpoch, Duration ahead = 4s) {
    ask(Request{.kind = Ask::arm, .epoch = epoch, .deadline = now + ahead, .ttl = kTtl});
  }
  void start(bool as_primary) { ask(Request{.kind = Ask::start_server, .as_primary = as_primary}); }
  void stop(StopMode mode, Duration limit) {
    ask(Request{.kind = Ask::stop_server, .mode = mode, .limit = limit});
  }
  void run_job(std::int64_t job, Duration limit = 60s) {
    ask(Request{.kind = Ask::run_job, .limit = limit, .job = job});
  }
  void tick() { run(guardian.tick(now)); }
  // Time passes in small steps, with the agent showing signs of life or not.
  void pass(Duration duration, bool alive = true) {
    for (auto end = now + duration; now < end;) {
      now = std::min(end, std::max(now + 1ns, std::min(guardian.next_wake(), now + 500ms)));
      if (alive) ask(Ask::alive);
      tick();
    }
  }
  void postmaster_dies(int status = 9) { run(guardian.server_exited(status, now)); }
  void everything_dies() {
    left = 0;
    if (guardian.phase() != ServerPhase::none && guardian.server_pid() != 0) postmaster_dies();
    tick();
  }

  std::size_t count(Do kind) const {
    std::size_t n = 0;
    for (const auto& action : seen) n += action.kind == kind;
    return n;
  }
  // Decisions to kill the server, without the sweeps that follow.
  std::size_t kills() const {
    std::size_t n = 0;
    for (const auto& action : seen) n += action.kind == Do::kill_server && !action.why.empty();
    return n;
  }
  std::vector<Notice> told(Told kind) const {
    std::vector<Notice> notices;
    for (const auto& action : seen) {
      if (action.kind == Do::send && action.notice.kind == kind) notices.push_back(action.notice);
    }
    return notices;
  }
  std::string refusal() const {
    auto refusals = told(Told::refused);
    return refusals.empty() ? "" : refusals.back().text;
  }
};

inline House talking() {
  House house;
  house.hello();
  house.seen.clear();
  return house;
}

inline House primary() {
  auto house = talking();
  house.arm();
  house.start(true);
  house.seen.clear();
  return house;
}

inline House standby() {
  auto house = talking();
  house.start(false);
  house.seen.clear();
  return house;
}

}  // namespace pgsteady::lease::testing
