#include "dcs/reactor.h"

#include <grpc/support/time.h>
#include <grpcpp/alarm.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"
#include "dcs/steady_waits.h"

namespace pgsteady::dcs {
namespace {

using TagFunction = std::function<void(bool)>;

// The alarm's tag; every other tag is a TagFunction on the heap.
char wake_tag;

}  // namespace

Reactor::Reactor(const char* thread_name)
    : alarm_(std::make_unique<grpc::Alarm>()), thread_([this, thread_name] { run(thread_name); }) {
  if (!waits_are_steady()) log_warning("connections to etcd depend on the wall clock here");
}

Reactor::~Reactor() {
  stop();
}

void Reactor::post(std::function<void()> task) {
  std::lock_guard lock(mutex_);
  if (stop_requested_) return;
  tasks_.push_back(std::move(task));
  wake();
}

void Reactor::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stop_requested_) return;
    stop_requested_ = true;
    wake();
  }
  thread_.join();
}

void Reactor::wake() {
  if (woken_) return;
  woken_ = true;
  alarm_->Set(&queue_, gpr_time_0(GPR_CLOCK_MONOTONIC), &wake_tag);
}

Reactor::TimerId Reactor::after(Nanoseconds delay, std::function<void()> run) {
  TimerId id{boottime_now() + delay, next_timer_++};
  timers_.emplace(id, std::move(run));
  return id;
}

void Reactor::cancel(TimerId timer) {
  timers_.erase(timer);
}

void* Reactor::tag(std::function<void(bool)> run) {
  ++pending_tags_;
  return new TagFunction(std::move(run));
}

gpr_timespec Reactor::next_wake() const {
  if (timers_.empty()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  auto wait = std::max(timers_.begin()->first.first - boottime_now(), Nanoseconds(0));
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(wait.count(), GPR_TIMESPAN));
}

void Reactor::run_timers() {
  const auto now = boottime_now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto run = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    run();
  }
}

void Reactor::run_tasks() {
  std::vector<std::function<void()>> tasks;
  bool stop = false;
  {
    std::lock_guard lock(mutex_);
    woken_ = false;
    tasks.swap(tasks_);
    stop = stop_requested_;
  }
  if (stop) return begin_stop();
  for (auto& task : tasks) task();
}

void Reactor::begin_stop() {
  stopping_ = true;
  timers_.clear();
  for (auto* call : calls_) call->TryCancel();
}

void Reactor::run(const char* thread_name) {
  pthread_setname_np(pthread_self(), thread_name);
  while (!stopping_ || pending_tags_ > 0) {
    void* tag = nullptr;
    bool ok = false;
    auto got = queue_.AsyncNext(&tag, &ok, next_wake());
    if (got == grpc::CompletionQueue::SHUTDOWN) break;
    if (got == grpc::CompletionQueue::GOT_EVENT && tag == &wake_tag) {
      run_tasks();
    } else if (got == grpc::CompletionQueue::GOT_EVENT) {
      --pending_tags_;
      std::unique_ptr<TagFunction> function(static_cast<TagFunction*>(tag));
      if (!stopping_) (*function)(ok);
    }
    if (!stopping_) run_timers();
  }
  alarm_.reset();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) continue;
}

}  // namespace pgsteady::dcs
