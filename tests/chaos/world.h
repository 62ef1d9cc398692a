// The cluster that faults are made in: three nodes, three etcds and a client, each on a host of its
// own, with a writer and a watcher; and the questions that must be answered well after each round.
#pragma once

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "harness/cluster.h"
#include "harness/disk.h"
#include "harness/wall_clock.h"
#include "harness/watcher.h"
#include "harness/writer.h"

namespace pgsteady::chaos {

using testing::Clock;
using testing::Cluster;
using testing::Etcd;
using testing::FreezableDisk;
using testing::Millis;
using testing::Network;
using testing::Node;
using testing::WallClocks;
using testing::Watcher;
using testing::Writer;

// All chance comes from here, so that a seed names a run.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}

  int between(int low, int high) { return std::uniform_int_distribution<>(low, high)(engine_); }
  bool chance(double probability) { return std::bernoulli_distribution(probability)(engine_); }
  template <typename T>
  const T& one_of(const std::vector<T>& values) {
    return values.at(static_cast<std::size_t>(between(0, static_cast<int>(values.size()) - 1)));
  }
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
};

class World {
 public:
  // Starts everything and waits until it is healthy; throws std::runtime_error.
  explicit World(const std::filesystem::path& programs);
  ~World();  // ends everything

  Network& network() { return network_; }
  Etcd& etcd() { return *etcd_; }
  Cluster& cluster() { return *cluster_; }
  Writer& writer() { return *writer_; }
  Watcher& watcher() { return *watcher_; }

  // The one that holds a node's data directory, alone; there is one where disks can be made.
  bool has_disks() const { return !disks_.empty(); }
  FreezableDisk& disk_of(const Node& node) { return *disks_.at(node.name); }
  WallClocks* clocks() { return clocks_ ? &*clocks_ : nullptr; }  // where they can be set

  // The nodes as they stood when the round began, the primary first.
  const std::vector<Node*>& nodes() const { return nodes_; }
  Node& a_node(Dice& dice) const;  // the primary more often than another
  void begin_round();
  // From when it returns on, what is acknowledged is on a standby, or need not be any more. Throws
  // std::runtime_error when the cluster does not follow.
  void set_synchronous(bool on);

  // For faults: whatever they left is undone by heal() at the latest.
  void freeze(const std::vector<pid_t>& pids);
  void thaw(std::vector<pid_t> pids, Dice& dice);  // in any order
  void heal(Dice& dice);

  // One primary, from which the others stream; writes flow; each has every row of the primary.
  bool converges(Millis limit);
  unsigned timeline();  // of the primary, 0 when it cannot be asked
  void keep_logs(const std::filesystem::path& where);

 private:
  void make_disks();
  testing::ClusterOptions options(const std::filesystem::path& programs);
  bool replicas_agree(Millis limit);

  testing::TempDir dir_;
  Network network_;
  std::map<std::string, std::unique_ptr<FreezableDisk>> disks_;
  std::optional<WallClocks> clocks_;
  std::unique_ptr<Etcd> etcd_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Watcher> watcher_;
  std::vector<Node*> nodes_;
  std::set<pid_t> frozen_;
  bool synchronous_ = false;
};

}  // namespace pgsteady::chaos
