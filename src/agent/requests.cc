#include "agent/requests.h"

#include <utility>

#include "base/clock.h"

namespace pgsteady::agent {
namespace {

constexpr std::size_t kOpenLimit = 16;

}  // namespace

void Requests::submit(core::Request request, Answer answer) {
  std::unique_lock lock(mutex_);
  if (!arrived_ || answers_.size() >= kOpenLimit) {
    const char* why = arrived_ ? "too many requests are open" : "the agent is not ready";
    lock.unlock();
    return answer(503, why);
  }
  request.id = ++last_id_;
  request.received = lease::Instant(boottime_now());
  answers_.emplace(request.id, std::move(answer));
  waiting_.push_back(std::move(request));
  arrived_();
}

void Requests::open(std::function<void()> arrived) {
  std::lock_guard lock(mutex_);
  arrived_ = std::move(arrived);
}

std::vector<core::Request> Requests::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(waiting_, {});
}

Requests::Answer Requests::take_answer(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  auto node = answers_.extract(id);
  return node.empty() ? Answer() : std::move(node.mapped());
}

void Requests::answer(std::uint64_t id, int status, std::string text) {
  if (auto answer = take_answer(id)) answer(status, std::move(text));
}

void Requests::close() {
  std::map<std::uint64_t, Answer> left;
  {
    std::lock_guard lock(mutex_);
    arrived_ = nullptr;
    waiting_.clear();
    left = std::exchange(answers_, {});
  }
  for (auto& [id, answer] : left) answer(503, "the agent ends");
}

}  // namespace pgsteady::agent
