// Watches every node for a second one that accepts writes, with a thread and a connection of its
// own per node.
//
// A probe is a committed insert that gives back the server's timeline. A write that was sent after
// another node's write on a newer timeline was acknowledged, and is acknowledged itself, is a
// split. So are writes of two nodes on the same timeline. Both hold without synchronised guesses:
// only "sent after the other was acknowledged" counts, and each promotion starts a new timeline.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "harness/cluster.h"

namespace pgsteady::testing {

class Watcher {
 public:
  struct Probe {
    std::size_t node;
    unsigned timeline;
    Clock::time_point sent, acked;
  };

  explicit Watcher(Cluster& cluster);  // the cluster must be healthy
  ~Watcher();

  void stop();
  std::vector<Probe> probes() const;  // by time of acknowledgement
  // One line per kind of violation, empty when there was none.
  std::vector<std::string> splits() const;
  // Acknowledged writes of an older timeline sent after a newer one's first acknowledgement.
  std::size_t stale_acks() const;

  static std::vector<std::string> find_splits(const std::vector<Probe>& probes);
  static std::size_t count_stale(const std::vector<Probe>& probes);

 private:
  void run(std::size_t node, const std::string& conninfo);
  void probe(std::size_t node, SqlClient& client);

  mutable std::mutex mutex_;
  std::vector<Probe> probes_;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace pgsteady::testing
