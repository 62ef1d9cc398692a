#include "dcs/call.h"

#include <algorithm>

namespace pgsteady::dcs {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

constexpr milliseconds kShortestSlice(100);  // how long an endpoint is waited for, at the least
constexpr milliseconds kPause(50);           // after a round in which every endpoint failed
constexpr milliseconds kConnectPoll(10);     // between looks at connections being made
constexpr milliseconds kTryAllAfter(100);    // how long the current endpoint alone may connect

}  // namespace

CallBase::CallBase(Session& session, Repeat repeat, bool with_token, std::chrono::nanoseconds limit)
    : session_(session),
      with_token_(with_token),
      repeat_(repeat),
      began_(boottime_now()),
      deadline_(began_ + limit) {}

// By value: the timer or the callback that holds the caller's copy may be replaced meanwhile.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
void CallBase::attempt(std::shared_ptr<CallBase> self) {
  if (finished_) return;
  if (session_.broken()) return finish_with(*session_.broken());
  if (left() <= std::chrono::nanoseconds(0)) return give_up();
  if (with_token_ && session_.wants_token()) return attempt_with_new_token(self);
  if (repeat_ == Repeat::freely) return send_to(self, session_.current());
  // What must not be sent twice is only sent where a connection stands.
  auto ready = session_.ready(boottime_now() - began_ > kTryAllAfter);
  if (!ready) return attempt_later(self, kConnectPoll);
  send_to(self, *ready);
}

void CallBase::attempt_with_new_token(const std::shared_ptr<CallBase>& self) {
  session_.authenticate(left(), [this, self](const Result<bool>& result) {
    if (finished_) return;
    if (result) return attempt(self);
    if (result.error().kind != ErrorKind::retry) return finish_with(result.error());
    last_failure_ = result.error().message;
    attempt_later(self, kPause);
  });
  // The token may have been asked for by a call with more time.
  if (!finished_) attempt_later(self, left());
}

void CallBase::send_to(const std::shared_ptr<CallBase>& self, std::size_t index) {
  ++attempts_;
  newest_ = index;
  session_.reactor().cancel(timer_);
  send(index, left());
  if (repeat_ == Repeat::never) return;
  // An endpoint that keeps silent is given a share of the time; then the next one is asked as well.
  auto slice = std::max<std::chrono::nanoseconds>(
      kShortestSlice, (deadline_ - began_) / static_cast<long>(session_.size()));
  if (slice >= left()) return;
  timer_ = session_.reactor().after(slice, [this, self, index] {
    last_failure_ = session_.endpoint(index).address + " did not answer in time";
    session_.failed(index);
    attempt(self);
  });
}

void CallBase::attempt_failed(const std::shared_ptr<CallBase>& self, std::size_t index,
                              const std::string& token, const grpc::Status& status) {
  last_failure_ = fmt::format("{}: {}", session_.endpoint(index).address, status.error_message());
  auto failure = classify(status);
  if (failure == Failure::stale_token && with_token_ && !session_.options().username.empty() &&
      !authenticated_again_) {
    authenticated_again_ = true;
    session_.forget_token(token);
    return attempt(self);
  }
  if (failure == Failure::not_found) return finish_with({ErrorKind::not_found, last_failure_, {}});
  if (failure == Failure::refused || failure == Failure::stale_token) {
    return finish_with({ErrorKind::refused, "etcd refused at " + last_failure_,
                        "check the user, the password and the permissions for etcd"});
  }
  bad_certificates_ = failure == Failure::bad_certificate ? bad_certificates_ + 1 : 0;
  next_attempt(self, index);
}

void CallBase::stale_answer(const std::shared_ptr<CallBase>& self, std::size_t index) {
  last_failure_ = session_.endpoint(index).address + " answered from a raft term that is over";
  next_attempt(self, index);
}

void CallBase::next_attempt(const std::shared_ptr<CallBase>& self, std::size_t index) {
  session_.failed(index);
  if (repeat_ == Repeat::never) {
    return finish_with({ErrorKind::retry,
                        fmt::format("etcd at {}; whether it was done is not known", last_failure_),
                        {}});
  }
  if (bad_certificates_ >= session_.size()) {
    return finish_with({ErrorKind::refused, "no secure connection to etcd at " + last_failure_,
                        "check etcd's cacert, cert and key, and the names in etcd's certificate"});
  }
  if (index != newest_) return;  // a later attempt is still open
  if (attempts_ % session_.size() == 0) return attempt_later(self, kPause);
  attempt(self);
}

void CallBase::attempt_later(const std::shared_ptr<CallBase>& self,
                             std::chrono::nanoseconds delay) {
  session_.reactor().cancel(timer_);
  timer_ = session_.reactor().after(std::min(delay, left()), [this, self] { attempt(self); });
}

void CallBase::give_up() {
  auto limit = duration_cast<milliseconds>(deadline_ - began_);
  finish_with({ErrorKind::retry,
               fmt::format("etcd ({}) did not answer within {} ms: {}", session_.names(),
                           limit.count(), last_failure_),
               "check that etcd runs, has a leader and can be reached from here"});
}

}  // namespace pgsteady::dcs
