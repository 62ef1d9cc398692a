// What the agent shows to the outside: one immutable value, replaced by the loop after each turn
// and read by the REST threads. They share the board, and the requests (agent/requests.h).
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "cluster/local_server.h"
#include "cluster/view.h"

namespace pgsteady::agent {

struct NodeStatus {
  std::string scope;
  MemberName name;
  std::string version;   // of pgsteady
  std::string instance;  // of this process: tells it from another node of its name
  // Patroni's word for what the node does: running, starting, stopped, stopping, "start failed",
  // "creating replica", "initializing new cluster", "running pg_rewind"
  std::string state = "stopped";
  bool has_lock = false;          // holds the leader key and its deadline has not passed
  bool cluster_unlocked = false;  // nobody holds the leader key
  bool dcs_reachable = false;
  ClusterView cluster;  // as last read
  LocalServer server;
  Tags tags;
  std::chrono::nanoseconds loop_ran_at{};  // boottime of the loop's last turn
  std::chrono::nanoseconds ttl{};
  WallTime dcs_last_seen{};
  std::optional<std::chrono::nanoseconds> deadline;  // boottime; primaries only
  std::optional<std::chrono::nanoseconds> renewal_latency;
  std::uint64_t fence_events = 0;
  bool unfit =
      false;  // it gave the lock up a moment ago, or its watchdog failed: others come first
  bool watchdog_failed = false;  // a required one
  // boottime until which a leader lives on promises, or a replica's promise binds it
  std::optional<std::chrono::nanoseconds> failsafe_until;
  std::chrono::nanoseconds decision_time{};  // of the last decide()
  // For a race: a read at this etcd revision found no leader key, the WAL receiver has ended since,
  // and this is how far it got. Absent while any of that does not hold.
  struct RaceFigure {
    std::int64_t leaderless_revision = 0;
    Timeline timeline = 0;
    Lsn lsn;
  };
  std::optional<RaceFigure> race;
};

class StatusBoard {
 public:
  std::shared_ptr<const NodeStatus> read() const {
    std::lock_guard lock(mutex_);
    return status_;
  }
  void publish(NodeStatus status) {
    auto fresh = std::make_shared<const NodeStatus>(std::move(status));
    std::lock_guard lock(mutex_);
    status_ = std::move(fresh);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const NodeStatus> status_ = std::make_shared<const NodeStatus>();
};

}  // namespace pgsteady::agent
