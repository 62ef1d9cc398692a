// The loop's part in failsafe mode: hands the task to the asking thread, and tells the REST thread
// what its answers may rest on.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <fstream>

#include "agent/asker.h"
#include "agent/loop.h"
#include "base/clock.h"

namespace pgsteady::agent {
namespace asio = boost::asio;

void Loop::start_asker() {
  AskerHooks hooks;
  hooks.extend = [this](const lease::Epoch& epoch, lease::Instant deadline, lease::Duration ttl) {
    extend_deadline(epoch, deadline, ttl);
  };
  hooks.may_ask = [this] { return shows_life(); };
  hooks.report = [this](const core::FailsafeFacts& facts) {
    asio::post(io_, [this, facts] {
      bool first = facts.held_until.has_value() != seen_.failsafe.held_until.has_value();
      seen_.failsafe = facts;
      if (first) wake();
    });
  };
  asker_ = make_asker(self_.name, self_.conn_url, self_.api_url, std::move(hooks));
}

void Loop::ask_for(std::optional<core::FailsafeTask> task) {
  if (!task && !asker_epoch_.valid()) return;
  asker_epoch_ = task ? task->epoch : lease::Epoch{};
  asker_->task(std::move(task));
}

// Written down for the agent that comes after this one and may find etcd gone; like the epoch
// without waiting for the disk.
bool Loop::act(const core::AskPromises& a) {
  std::ofstream file(config_.server.state_dir + "/failsafe", std::ios::trunc);
  if (a.task) {
    file << a.task->epoch.lease << ' ' << a.task->epoch.mod_revision << ' ' << a.task->ttl.count()
         << '\n'
         << failsafe_to_json(a.task->others);
  }
  ask_for(a.task);
  return true;
}

std::optional<core::FailsafeTask> Loop::remembered_task() const {
  std::ifstream file(config_.server.state_dir + "/failsafe");
  core::FailsafeTask task;
  std::int64_t ttl_ns = 0;
  if (!(file >> task.epoch.lease >> task.epoch.mod_revision >> ttl_ns)) return std::nullopt;
  std::string json(std::istreambuf_iterator<char>(file), {});
  auto others = parse_cluster({KeyValue{"failsafe", json}}, 0).failsafe;
  if (!others) return std::nullopt;
  task.ttl = lease::Duration(ttl_ns);
  task.others = std::move(*others);
  return task;
}

// After each decision, before anything of it is carried out.
void Loop::tell_promises() {
  if (!state_.lock) ask_for(std::nullopt);
  const auto& going = seen_.transactions;
  lease::Promiser::Standing standing;
  standing.leads = state_.lock || seen_.guard.armed.valid() || seen_.server.is_primary() ||
                   std::any_of(going.begin(), going.end(), core::takes_lock);
  standing.leader_key = state_.takeover.key();
  standing.unsure_until = state_.unsure_until;
  promises_.decided(standing);
}

// A promise that was given since the decision voids it.
bool Loop::may_send(core::TxnKind kind) {
  if (!core::takes_lock(kind) || promises_.begin_taking(seen_.promise)) return true;
  wake();
  return false;
}

std::optional<std::chrono::nanoseconds> Loop::failsafe_until() const {
  if (state_.lock) {
    const auto& facts = seen_.failsafe;
    if (facts.epoch != *state_.lock || !facts.held_until) return std::nullopt;
    return facts.held_until->time_since_epoch();
  }
  if (!seen_.promise) return std::nullopt;
  return seen_.promise->until.time_since_epoch();
}

}  // namespace pgsteady::agent
