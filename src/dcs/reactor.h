// One thread over one gRPC completion queue: asynchronous calls, timers, and work handed in from
// other threads, all run one after the other on that thread, so that whatever lives on it needs no
// lock. Sleeps in the queue when there is nothing to do.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace grpc {
class Alarm;
}

namespace pgsteady::dcs {

class Reactor {
 public:
  using Nanoseconds = std::chrono::nanoseconds;
  using TimerId = std::pair<Nanoseconds, std::uint64_t>;

  explicit Reactor(const char* thread_name);
  ~Reactor();  // stop()
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // Any thread. Tasks run in the order they were posted; those that come after stop() are dropped.
  void post(std::function<void()> task);
  // Cancels calls, timers and tasks without running what they would have run, and joins the thread.
  // From the owner's thread; a second call does nothing.
  void stop();

  // The rest: on the reactor's thread only.
  TimerId after(Nanoseconds delay, std::function<void()> run);
  void cancel(TimerId timer);
  grpc::CompletionQueue* queue() { return &queue_; }
  // A tag for exactly one operation on queue(); `run` gets gRPC's ok.
  void* tag(std::function<void(bool)> run);
  // Calls in flight; they are cancelled by stop().
  void add(grpc::ClientContext* call) { calls_.insert(call); }
  void remove(grpc::ClientContext* call) { calls_.erase(call); }

 private:
  void run(const char* thread_name);
  void run_tasks();
  void run_timers();
  gpr_timespec next_wake() const;
  void begin_stop();
  void wake();

  grpc::CompletionQueue queue_;
  std::map<TimerId, std::function<void()>> timers_;
  std::uint64_t next_timer_ = 0;
  std::set<grpc::ClientContext*> calls_;
  std::size_t pending_tags_ = 0;
  bool stopping_ = false;

  std::mutex mutex_;  // guards what follows
  std::vector<std::function<void()>> tasks_;
  bool stop_requested_ = false;
  bool woken_ = false;  // the alarm is set and has not rung yet
  std::unique_ptr<grpc::Alarm> alarm_;

  std::thread thread_;  // last: everything above is there before it runs
};

}  // namespace pgsteady::dcs
