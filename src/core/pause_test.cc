#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

Case paused(Case c) {
  c.seen.dcs.cluster.config->pause = true;
  return c;
}

// The fence is off, and etcd knows.
Case unfenced(Case c) {
  c = paused(c);
  c.seen.guard.suspended = true;
  c.seen.dcs.cluster.unfenced["pg1"] = 160;
  return c;
}

bool changes_the_server(const Decision& decision) {
  return find<StartServer>(decision) || find<StopServer>(decision) || find<Promote>(decision) ||
         find<Fence>(decision) || find<Rewind>(decision) || find<Clone>(decision) ||
         find<RunInitdb>(decision);
}

TEST(Pause, TheFenceIsAnnouncedBeforeItIsOff) {
  auto c = paused(Case());
  auto decision = c.decide();
  EXPECT_FALSE(find<SwitchFence>(decision));
  const auto* txn = find_txn(decision, TxnKind::unfenced);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares,
            (std::vector<Compare>{Compare::unchanged("config", 5),
                                  Compare::unchanged("leader", kEpoch.mod_revision)}));
  EXPECT_EQ(txn->operations[0].key, "unfenced/pg1");
  c.seen.dcs.cluster.unfenced["pg1"] = 160;
  decision = c.decide();
  ASSERT_TRUE(find<SwitchFence>(decision));
  EXPECT_FALSE(find<SwitchFence>(decision)->on);
}

TEST(Pause, AnAnnouncementThatIsBeingTakenBackIsNone) {
  auto c = paused(Case());
  c.seen.dcs.cluster.unfenced["pg1"] = 160;
  c.seen.transactions = {TxnKind::unfenced};
  EXPECT_FALSE(find<SwitchFence>(c.decide()));
  c = unfenced(Case());
  c.seen.dcs.cluster.unfenced.clear();
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::unfenced)) << "somebody deleted it";
}

// It was sent when the pause before ended, by this agent or the one before it.
TEST(Pause, AnAnnouncementThatMayBeTakenBackLateIsMadeAnew) {
  auto c = paused(Case());
  c.seen.dcs.cluster.unfenced["pg1"] = 160;
  c.seen.txn_ends = {{TxnKind::unfenced}};
  auto decision = c.decide();
  EXPECT_FALSE(find<SwitchFence>(decision));
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.now.boot += 1s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::unfenced));
  c.state = c.decide().state;
  c.seen.txn_ends = {{TxnKind::unfenced, true, false, true, 201, 0}};
  c.seen.dcs.cluster.revision = 201;
  c.seen.dcs.cluster.unfenced["pg1"] = 201;
  EXPECT_TRUE(find<SwitchFence>(c.decide()));
  c = paused(Case());
  c.seen.dcs.cluster.unfenced["pg1"] = 160;
  c.state.begun = false;
  EXPECT_FALSE(find<SwitchFence>(c.decide()));
}

TEST(Pause, APrimaryStaysWithoutEtcdAndWithoutItsLock) {
  auto c = unfenced(Case());
  c.seen.dcs.reachable = false;
  c.seen.lease.state = lease::Renewal::State::lease_lost;
  c.seen.guard.deadline = at(50s);
  EXPECT_FALSE(changes_the_server(c.decide()));
  c = unfenced(Case());
  c.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 190};
  EXPECT_FALSE(changes_the_server(c.decide()));
}

TEST(Pause, ANewAgentKnowsItFromTheGuardian) {
  auto c = unfenced(Case());
  c.seen.dcs = {};
  c.seen.guard.deadline = at(50s);
  c.state = {};
  EXPECT_FALSE(changes_the_server(c.decide()));
  c.seen.guard.suspended = false;
  c.seen.lease = {};
  EXPECT_TRUE(changes_the_server(c.decide()));
}

TEST(Pause, ADeadServerIsNotStartedAndItsLockIsGivenBack) {
  auto c = unfenced(Case()).stopped("in production");
  auto decision = c.decide();
  EXPECT_FALSE(changes_the_server(decision));
  ASSERT_TRUE(find<SwitchFence>(decision));
  EXPECT_TRUE(find<SwitchFence>(decision)->on);
  c.seen.guard.suspended = false;
  c.seen.guard.armed = {};
  decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::give_up));
  EXPECT_TRUE(find_txn(decision, TxnKind::unfenced));
  EXPECT_FALSE(changes_the_server(decision));
}

TEST(Pause, NobodyTakesOverUnlessNamed) {
  auto c = paused(Case().leaderless().peer("pg3", Lsn{1000}));
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.failover = FailoverRequest{"", "pg1", "", 150};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Pause, ALockThatNobodyHoldsGoesToTheRunningPrimary) {
  auto c = unfenced(Case().no_lock());
  c.seen.dcs.cluster.leader.reset();
  c.state.takeover.key_seen(kEpoch);
  c.state.takeover.key_gone(at(99900ms), 5s);
  c.seen.remembered = kEpoch;
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::acquire);
  ASSERT_TRUE(txn) << "its own last epoch needs no waiting";
  EXPECT_EQ(txn->compares.back().key, "unfenced/") << "a primary makes no timeline";
  c.seen.remembered = lease::Epoch{3, 4};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.remembered = kEpoch;
  c.seen.dcs.cluster.history = {{1, Lsn{900}, "", "", ""}};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "its timeline is old";
}

TEST(Pause, TheSwitchoverByHandWorks) {
  auto c = unfenced(Case()).peer("pg2", Lsn{1000}).peer("pg3", Lsn{1000});
  c.seen.peers->asked_at = c.now.boot;
  c.seen.server.replication = {{"r", "pg2", "", "streaming", "async", 0, Lsn{1000}}};
  c.seen.dcs.cluster.failover = FailoverRequest{"pg1", "pg2", "", 150};
  auto decision = c.decide();
  EXPECT_TRUE(find<StopServer>(decision));
  c.state = decision.state;
  c.stopped("shut down");
  c.seen.guard.suspended = false;
  c.seen.guard.armed = {};
  decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::release);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[2], Operation::remove("unfenced/pg1"));
  auto answered = c;
  answered.seen.txn_ends = {{TxnKind::release, true, false, true, 201, 0}};
  answered.state = answered.decide().state;
  EXPECT_TRUE(answered.state.returning);
  auto renewing = c;  // the renewal's own look at the key may be first of all
  renewing.seen.transactions = {TxnKind::release};
  renewing.seen.lease.epoch = kEpoch;
  renewing.seen.lease.state = lease::Renewal::State::key_lost;
  EXPECT_TRUE(renewing.decide().state.lock);
  // What was read may be there before the answer is.
  c.seen.dcs.cluster.revision = 201;
  c.seen.dcs.cluster.leader.reset();
  c.seen.dcs.cluster.release = ReleaseNote{"pg1", 100, 1, Lsn{900}, 201};
  decision = c.decide();
  c.state = decision.state;
  c.seen.txn_ends = {{TxnKind::release, true, false, true, 201, 0}};
  decision = c.decide();
  c.state = decision.state;
  c.seen.txn_ends.clear();
  EXPECT_FALSE(find<StartServer>(decision)) << "the successor leads first";
  c.state = decision.state;
  c.now.boot += 3s;
  decision = c.decide();
  ASSERT_TRUE(find<StartServer>(decision)) << "it comes back";
  EXPECT_FALSE(find<StartServer>(decision)->as_primary);
}

TEST(Resume, ArmsBeforeAnythingElse) {
  auto c = unfenced(Case());
  c.seen.dcs.cluster.config->pause = false;
  c.seen.guard.deadline = at(50s);
  auto decision = c.decide();
  EXPECT_TRUE(find<Arm>(decision));
  EXPECT_FALSE(find<SwitchFence>(decision));
  EXPECT_FALSE(changes_the_server(decision));
  c.seen.guard.deadline = at(103s);
  decision = c.decide();
  ASSERT_TRUE(find<SwitchFence>(decision));
  EXPECT_TRUE(find<SwitchFence>(decision)->on);
  EXPECT_FALSE(find_txn(decision, TxnKind::unfenced)) << "announced until it is on";
  c.seen.guard.suspended = false;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::unfenced));
}

TEST(Resume, APrimaryWithoutTheLockThatAnotherHasIsFenced) {
  auto c = unfenced(Case().no_lock());
  c.seen.dcs.cluster.config->pause = false;
  c.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 190};
  EXPECT_TRUE(find<Fence>(c.decide()));
}

TEST(Resume, APrimaryOnAnOldTimelineIsFencedEvenIfNobodyLeads) {
  auto c = unfenced(Case().no_lock());
  c.seen.dcs.cluster.config->pause = false;
  c.seen.dcs.cluster.leader.reset();
  EXPECT_FALSE(find<Fence>(c.decide()));
  c.seen.dcs.cluster.history = {{1, Lsn{900}, "", "", ""}};
  EXPECT_TRUE(find<Fence>(c.decide()));
  c.seen.server.timeline = 0;
  EXPECT_FALSE(changes_the_server(c.decide())) << "its timeline is not known";
}

TEST(Resume, NobodyTakesOverBesideAFenceThatMayBeOff) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.dcs.cluster.unfenced["pg2"] = 160;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.failover = FailoverRequest{"", "pg1", "", 150, true};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::acquire);
  ASSERT_TRUE(txn) << "but for an operator's word";
  const auto remove = Operation::remove("unfenced/pg2");
  EXPECT_TRUE(std::find(txn->operations.begin(), txn->operations.end(), remove) !=
              txn->operations.end());
}

}  // namespace
}  // namespace pgsteady::core::testing
