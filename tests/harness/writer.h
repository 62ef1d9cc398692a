// A client that commits one row every 10 ms over a multi-host connection and reconnects at once:
// what an application sees of a failover.
#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "harness/cluster.h"

namespace pgsteady::testing {

class Writer {
 public:
  struct Ack {
    std::int64_t number;
    int port;  // of the server that acknowledged it
    Clock::time_point sent, at;
  };

  // Makes its table and starts to write. The cluster must be healthy.
  explicit Writer(Cluster& cluster);
  ~Writer();  // stops

  void stop();
  std::vector<Ack> acks() const;
  std::int64_t count() const;
  std::int64_t last_sent() const { return next_ - 1; }
  // Waits until `more` commits are acknowledged from now on.
  bool wait_acks(std::int64_t more, Millis limit);

  // The longest time without an acknowledgement that reaches past `from`, until now (or stop()).
  Millis outage_since(Clock::time_point from) const;
  // What the primary has of what was acknowledged until now. nullopt when it cannot be asked.
  struct Account {
    std::vector<Ack> lost;              // rows that it does not have
    std::vector<std::int64_t> doubled;  // rows that it has more than once
  };
  std::optional<Account> account() const;
  std::optional<std::vector<std::int64_t>> lost() const;  // their numbers
  std::string errors() const;  // the distinct ones that it met, for a failing test

 private:
  void run();
  bool connect(SqlClient& client, std::size_t first_host);
  void write_one(SqlClient& client);

  Cluster& cluster_;
  std::vector<std::string> hosts_;
  std::vector<int> ports_;
  std::string user_part_;
  mutable std::mutex mutex_;
  std::vector<Ack> acks_;
  std::set<std::string> errors_;
  std::atomic<std::int64_t> next_ = 1;
  std::atomic<bool> stop_ = false;
  Clock::time_point stopped_at_{};
  std::thread thread_;
};

}  // namespace pgsteady::testing
