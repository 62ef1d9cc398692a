// What operators ask a simulated node for over REST, and its answers. As src/agent/requests.cc.
#include <algorithm>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr std::size_t kOpenLimit = 16;

}  // namespace

void Agent::ask(core::Request request) {
  if (!guard_known_ || open_requests_.size() >= kOpenLimit) return;  // 503
  request.id = ++last_request_;
  request.received = host_.now();
  open_requests_[request.id] = request.received;
  seen_.requests.push_back(std::move(request));
  wake();
}

bool Agent::act(const core::Reply& a) {
  world_.trace(host_.name(), "answers {}: {}", a.status, a.text);
  if (open_requests_.erase(a.id) == 0) {
    world_.violation(host_.name() + " answers a request that nobody made, or twice: " + a.text);
  }
  return true;
}

bool Agent::has_unanswered(Duration age) const {
  return std::any_of(open_requests_.begin(), open_requests_.end(),
                     [&](const auto& open) { return host_.now() - open.second > age; });
}

// The agent ends without a word to the guardian, which starts another beside the living server.
bool Agent::act(const core::Reload&) {
  host_.after(milliseconds(100), host_.agent_actor(), [this] {
    reload_due_ = true;
    if (reload_waits()) world_.trace(host_.name(), "puts a reload off until a job has ended");
    wake();
  });
  return true;
}

// The guardian ends a program with its agent.
bool Agent::reload_waits() const {
  using Kind = core::JobKind;
  return seen_.job == Kind::initdb || seen_.job == Kind::clone || seen_.job == Kind::rewind;
}

}  // namespace pgsteady::sim
