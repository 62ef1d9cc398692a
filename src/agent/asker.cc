#include "agent/asker.h"

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <mutex>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "http/client.h"

namespace pgsteady::agent {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using lease::Instant;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// The guardian refuses a deadline that has passed, and a refusal ends the epoch.
constexpr auto kLeastGain = milliseconds(200);

Instant now() {
  return Instant(boottime_now());
}

// Shorter than the time between a late renewal and the deadline, longer than a round: an answer of
// the round before is as good.
milliseconds answer_limit(lease::Duration ttl) {
  return std::clamp(std::chrono::duration_cast<milliseconds>(ttl) / 4, milliseconds(300),
                    milliseconds(1000));
}

std::optional<milliseconds> promised_in(const http::Response& response) {
  if (response.status != 200) return std::nullopt;
  for (const auto& [name, value] : response.headers) {
    if (name != kPromiseHeader) continue;
    auto number = parse_decimal(value);
    if (number && *number <= 3'600'000) return milliseconds(*number);
  }
  return std::nullopt;
}

class RestAsker : public Asker {
 public:
  RestAsker(MemberName name, std::string conn_url, std::string api_url, AskerHooks hooks)
      : name_(std::move(name)),
        conn_url_(std::move(conn_url)),
        api_url_(std::move(api_url)),
        hooks_(std::move(hooks)),
        timer_(io_),
        work_(asio::make_work_guard(io_)),
        thread_([this] { io_.run(); }) {}

  ~RestAsker() override {
    io_.stop();
    thread_.join();
  }

  void task(std::optional<core::FailsafeTask> task) override {
    {
      std::lock_guard lock(extending_);
      allowed_ = task ? task->epoch : lease::Epoch{};
    }
    asio::post(io_, [this, task = std::move(task)] { adopt(task); });
  }

  void renewed(const lease::Epoch& epoch, Instant held_until) override {
    std::lock_guard lock(extending_);
    renewed_epoch_ = epoch;
    renewed_until_ = held_until;
  }

 private:
  void adopt(const std::optional<core::FailsafeTask>& task);
  void schedule();
  void look();
  void begin_round();
  awaitable<void> ask(std::string other, HostPort address);
  std::string question() const;
  void tell();
  Instant due();

  const std::string name_, conn_url_, api_url_;
  AskerHooks hooks_;
  std::mutex extending_;
  lease::Epoch allowed_;        // of the present task
  lease::Epoch renewed_epoch_;  // whose lease was renewed last
  Instant renewed_until_{};
  // On the thread only:
  asio::io_context io_;
  asio::steady_timer timer_;
  std::map<std::string, HostPort> addresses_;
  lease::FailsafeRound round_;
  std::set<std::string> silent_;  // those that did not promise when asked last
  Instant round_began_{};
  bool asking_ = false;
  std::optional<Instant> told_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

void RestAsker::adopt(const std::optional<core::FailsafeTask>& task) {
  addresses_.clear();
  if (!task) {
    round_.drop();
    timer_.cancel();
    return tell();
  }
  std::vector<std::string> others;
  for (const auto& [name, url] : task->others) {
    others.push_back(name);
    if (auto address = host_port_of_url(url)) addresses_[name] = *address;
  }
  round_.adopt(task->epoch, task->ttl, std::move(others));
  tell();
  schedule();
}

// When the renewal that should have counted by then is late; at once when none ever counted.
Instant RestAsker::due() {
  std::lock_guard lock(extending_);
  if (renewed_epoch_ != round_.epoch()) return now();
  return lease::failsafe_due(renewed_until_, round_.ttl());
}

void RestAsker::schedule() {
  auto next = std::max(due(), round_began_ + lease::renewal_interval(round_.ttl()));
  timer_.expires_after(std::max<nanoseconds>(next - now(), nanoseconds(0)));
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error && round_.epoch()) look();
  });
}

void RestAsker::look() {
  bool late = now() >= due();
  if (late != asking_) {
    asking_ = late;
    if (late) {
      silent_.clear();
      log_warning("a renewal is late: asking {} others for a promise", round_.others().size());
    } else {
      log_info("the lease is renewed again: no more promises are needed");
    }
  }
  if (late && hooks_.may_ask()) begin_round();
  if (late) round_began_ = now();
  schedule();
}

void RestAsker::begin_round() {
  round_.begin(now());
  for (const auto& other : round_.others()) {
    auto address = addresses_.find(other);
    if (address == addresses_.end()) continue;
    asio::co_spawn(io_, ask(other, address->second), asio::detached);
  }
  tell();
}

std::string RestAsker::question() const {
  namespace json = boost::json;
  auto wanted = std::chrono::duration_cast<milliseconds>(round_.length()).count();
  json::object own{{"lease", round_.epoch()->lease},
                   {"revision", round_.epoch()->mod_revision},
                   {"promise_ms", wanted}};
  return json::serialize(json::object{{"name", name_},
                                      {"conn_url", conn_url_},
                                      {"api_url", api_url_},
                                      {"slots", json::object{}},
                                      {"pgsteady", std::move(own)}});
}

awaitable<void> RestAsker::ask(std::string other, HostPort address) {
  auto limit = answer_limit(round_.ttl());
  auto body = question();
  auto id = round_.asked(other, now());
  auto answer = co_await http::post(address, "/failsafe", std::move(body), limit);
  auto promised = answer ? promised_in(*answer) : std::nullopt;
  if (promised) {
    round_.promised(id, *promised);
    silent_.erase(other);
    co_return tell();
  }
  round_.failed(id);
  if (!silent_.insert(other).second) co_return;  // said once
  if (answer) {
    log_warning("{} does not promise to leave the lock alone: {} {}", other, answer->status,
                answer->body.substr(0, 100));
  } else {
    log_warning("{} cannot be asked for a promise: {}", other, answer.error().message);
  }
}

void RestAsker::tell() {
  auto until = round_.held_until();
  if (until == told_) return;
  told_ = until;
  auto epoch = round_.epoch().value_or(lease::Epoch{});
  if (until && *until > now() + kLeastGain) {
    std::lock_guard lock(extending_);
    if (allowed_ == epoch) hooks_.extend(epoch, *until, round_.ttl());
  }
  hooks_.report({epoch, until});
}

}  // namespace

std::unique_ptr<Asker> make_asker(MemberName name, std::string conn_url, std::string api_url,
                                  AskerHooks hooks) {
  return std::make_unique<RestAsker>(std::move(name), std::move(conn_url), std::move(api_url),
                                     std::move(hooks));
}

}  // namespace pgsteady::agent
