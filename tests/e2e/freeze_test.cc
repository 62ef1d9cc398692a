// Processes and whole nodes that stand still for longer than a lease, and go on. A node whose
// clocks went on meanwhile kills its server as soon as its guardian runs. What the server
// acknowledges before that is not promised (docs/safety.md, assumption 4): it is counted.
#include <algorithm>
#include <csignal>

#include "fixture.h"
#include "lease/terms.h"

namespace pgsteady::testing {
namespace {

constexpr Millis kTtl{5000};  // of the harness's clusters
constexpr Millis kFrozen = kTtl * 2 + Millis(2000);

// No figure to be reached, but what tells a guardian that kills as soon as it runs from an agent
// that demotes some time later: the time that each deadline leaves for the kill.
constexpr Millis kMoment = std::chrono::duration_cast<Millis>(lease::margin(kTtl));

class Frozen : public E2e {
 protected:
  // Everything of these nodes stands still; goes on in that order, or the other way round.
  void freeze_and_thaw(const std::vector<Node*>& nodes, bool servers_first) {
    std::vector<pid_t> all;  // each node's guardian first
    for (Node* node : nodes) {
      auto some = node->everything();
      all.insert(all.end(), some.begin(), some.end());
    }
    kill_pids(all, SIGSTOP);
    let_pass(kFrozen);
    EXPECT_THAT(watcher_->splits(), ::testing::IsEmpty());
    if (servers_first) std::reverse(all.begin(), all.end());
    thawed_ = Clock::now();
    kill_pids(all, SIGCONT);
  }
  void expect_no_split_but_for_a_moment() {
    watcher_->stop();
    auto probes = watcher_->probes();
    RecordProperty("late", static_cast<int>(Watcher::count_stale(probes)));
    std::erase_if(probes, [&](const Watcher::Probe& probe) {
      return probe.acked >= thawed_ && probe.acked < thawed_ + kMoment;
    });
    EXPECT_THAT(Watcher::find_splits(probes), ::testing::IsEmpty());
  }
  void a_frozen_primary_is_replaced_and_rejoins(bool servers_first) {
    run_cluster();
    Node& primary = leader();
    freeze_and_thaw({&primary}, servers_first);
    EXPECT_TRUE(cluster().wait_healthy(kLong));
    EXPECT_TRUE(writer().wait_acks(100, kLong));
    EXPECT_EQ(primary.role(), "standby");
    expect_no_split_but_for_a_moment();
  }

  Clock::time_point thawed_;
};

TEST_F(Frozen, APrimaryWhoseGuardianWakesFirst) {
  a_frozen_primary_is_replaced_and_rejoins(false);
}

TEST_F(Frozen, APrimaryWhoseServerWakesFirst) {
  a_frozen_primary_is_replaced_and_rejoins(true);
}

TEST_F(Frozen, AReplicaDisturbsNobody) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  freeze_and_thaw({replica}, true);
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Frozen, AllNodes) {
  run_cluster();
  freeze_and_thaw({&cluster().node(0), &cluster().node(1), &cluster().node(2)}, true);
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  EXPECT_TRUE(writer().wait_acks(100, kLong));
  expect_no_split_but_for_a_moment();
}

// Sessions go on, new ones hang: whatever is made of it, there is one primary in the end.
TEST_F(Frozen, APostmaster) {
  run_cluster();
  const pid_t postmaster = leader().postmaster();
  kill_pids({postmaster}, SIGSTOP);
  let_pass(kFrozen);
  kill_pids({postmaster}, SIGCONT);
  expect_recovered();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
