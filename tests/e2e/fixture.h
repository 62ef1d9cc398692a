// What every end-to-end test has: an etcd, a cluster, a client that writes throughout and a watcher
// for a second writable node. A failing test prints the end of each node's log.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "harness/cluster.h"
#include "harness/watcher.h"
#include "harness/writer.h"

namespace pgsteady::testing {

constexpr Millis kLong{90000};  // for what must happen at all; tests assert no times

class E2e : public ::testing::Test {
 protected:
  void SetUp() override { adopt_orphans(); }
  void TearDown() override;

  // etcd and the cluster's files; nothing of the cluster runs yet.
  void prepare(ClusterOptions options = {}, int etcd_members = 1);
  // prepare, start all, wait until healthy, start writer and watcher.
  void run_cluster(ClusterOptions options = {}, int etcd_members = 1);
  // run_cluster with three etcds, each node, etcd and the client on a host of its own in network().
  void run_networked(ClusterOptions options = {});
  void watch();

  Etcd& etcd() { return *etcd_; }
  Cluster& cluster() { return *cluster_; }
  Writer& writer() { return *writer_; }
  Network& network() { return *network_; }
  Node& leader();  // fails the test when there is none

  // For faults that nobody may notice: no error at the writer, the same server process.
  void expect_undisturbed(const Node& node, pid_t postmaster);
  // Waits until the cluster is healthy and writes flow, then: never two writable nodes.
  void expect_recovered();
  void expect_nothing_lost();  // ends the writer
  void expect_no_split();      // ends the watcher

  TempDir dir_{TempDir::Where::memory};
  std::unique_ptr<Network> network_;
  std::unique_ptr<Etcd> etcd_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Watcher> watcher_;
};

// Lets time pass while something must not happen.
void let_pass(Millis time);

// `pgsteady ...` as the server user: its exit code and output.
struct Output {
  int exit_code;
  std::string text;
};
Output pgsteady(const Cluster& cluster, const std::vector<std::string>& arguments);

}  // namespace pgsteady::testing
