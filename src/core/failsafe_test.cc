#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

constexpr lease::Epoch kNewKey{21, 300};

FailsafeTask task_of(const Case& c) {
  FailsafeTask task{kEpoch, 5s, *c.seen.dcs.cluster.failsafe};
  task.others.erase("pg1");
  return task;
}

// pg1 led when etcd went away 3 s ago; all others have promised.
Case on_promises() {
  Case c;
  c.seen.dcs.reachable = false;
  c.seen.lease.held_until = at(99s);
  c.state.failsafe.task = task_of(c);
  c.state.failsafe.epoch = kEpoch;
  c.state.failsafe.revision = 6;
  c.seen.failsafe = {kEpoch, at(103500ms)};
  c.seen.guard.deadline = at(103500ms);
  return c;
}

// etcd is back, and has let pg1's lease and key go.
Case etcd_is_back() {
  auto c = on_promises();
  c.seen.dcs.reachable = true;
  c.seen.dcs.cluster.leader.reset();
  c.seen.lease.state = lease::Renewal::State::lease_lost;
  return c;
}

TEST(Failsafe, TheLeaderListsAllMembersAndAsksThemAll) {
  Case c;
  c.seen.dcs.cluster.failsafe.reset();
  c.seen.dcs.cluster.failsafe_revision = 0;
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::failsafe);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, (std::vector<Compare>{Compare::unchanged("leader", 100),
                                                 Compare::unchanged("failsafe", 0)}));
  for (const auto& m : c.seen.dcs.cluster.members) {
    EXPECT_NE(txn->operations[0].value.find("\"" + m.name + "\":\"" + m.api_url + "\""),
              std::string::npos);
  }
  EXPECT_FALSE(find<AskPromises>(decision)) << "nothing rests on a list that etcd does not have";
  decision = Case().decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::failsafe)) << "nothing is written while nothing changes";
  ASSERT_TRUE(find<AskPromises>(decision));
  EXPECT_EQ(find<AskPromises>(decision)->task, task_of(c = Case()));
}

TEST(Failsafe, ANewMemberIsAskedBeforeItIsListed) {
  Case c;
  c.state.failsafe.task = task_of(c);
  c.seen.dcs.cluster.members.push_back(member("pg4", "replica", 14));
  auto decision = c.decide();
  ASSERT_TRUE(find_txn(decision, TxnKind::failsafe));
  ASSERT_TRUE(find<AskPromises>(decision));
  EXPECT_TRUE(find<AskPromises>(decision)->task->others.count("pg4"));
  // The answer is lost and etcd goes away: the key may or may not name it.
  c.state = decision.state;
  c.seen.txn_ends = {{TxnKind::failsafe}};
  c.seen.dcs.reachable = false;
  decision = c.decide();
  EXPECT_TRUE(decision.state.failsafe.task->others.count("pg4"));
  // Back again, the key as before: the transaction may still come.
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.seen.dcs.reachable = true;
  std::erase_if(c.seen.dcs.cluster.members, [](const Member& m) { return m.name == "pg4"; });
  decision = c.decide();
  EXPECT_TRUE(decision.state.failsafe.task->others.count("pg4"));
  // Only a key that has changed since rules it out.
  c.state = decision.state;
  c.seen.dcs.cluster.failsafe_revision = 8;
  EXPECT_FALSE(c.decide().state.failsafe.task->others.count("pg4"));
}

TEST(Failsafe, AVanishedMemberIsAskedUntilTheKeyIsRidOfIt) {
  Case c;
  c.state.failsafe.task = task_of(c);
  std::erase_if(c.seen.dcs.cluster.members, [](const Member& m) { return m.name == "pg3"; });
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::failsafe)) << "it may be back soon";
  c.state = decision.state;
  c.later(61s);
  c.seen.lease.held_until = c.seen.guard.deadline = c.now.boot + 3s;
  decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::failsafe);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0].value.find("pg3"), std::string::npos);
  EXPECT_TRUE(decision.state.failsafe.task->others.count("pg3"));
}

TEST(Failsafe, SwitchedOffItIsLeftBeforeTheKeyIs) {
  Case c;
  c.seen.dcs.cluster.config = dynamic_config_from_object({{"ttl", 5}, {"failsafe_mode", false}});
  c.state.failsafe.task = task_of(c);
  c.seen.failsafe = {kEpoch, at(102s)};
  auto decision = c.decide();
  ASSERT_TRUE(find<AskPromises>(decision));
  EXPECT_FALSE(find<AskPromises>(decision)->task);
  EXPECT_FALSE(find_txn(decision, TxnKind::failsafe))
      << "what was promised still carries the server";
  c.state = decision.state;
  c.now.boot = at(102s);
  decision = c.decide();
  ASSERT_TRUE(find_txn(decision, TxnKind::failsafe));
  EXPECT_EQ(find_txn(decision, TxnKind::failsafe)->operations[0], Operation::remove("failsafe"));
}

TEST(Failsafe, ALostLeaseDoesNotFenceWhileAllHavePromised) {
  auto c = on_promises();
  c.seen.lease.state = lease::Renewal::State::lease_lost;
  auto decision = c.decide();
  EXPECT_FALSE(find<Fence>(decision));
  EXPECT_TRUE(decision.state.lock);
  EXPECT_TRUE(says(decision, "continue to run as a leader because failsafe mode is enabled"));
  c.seen.failsafe.held_until.reset();
  EXPECT_TRUE(find<Fence>(c.decide()));
  c.seen.failsafe = {kNewKey, at(103500ms)};
  EXPECT_TRUE(find<Fence>(c.decide())) << "promised to another epoch";
}

TEST(Failsafe, TheOldLeaderTakesItsLockBackAsANewEpoch) {
  auto c = etcd_is_back();
  auto decision = c.decide();
  EXPECT_FALSE(find<Fence>(decision));
  EXPECT_TRUE(find<GrantLease>(decision));
  c.state = decision.state;
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::retake);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::absent("leader")});
  EXPECT_EQ(txn->operations[0], Operation::put("leader", "pg1", kNewKey.lease));
  c.state = decision.state;
  c.seen.txn_ends = {{TxnKind::retake, true, false, true, kNewKey.mod_revision, kNewKey.lease}};
  decision = c.decide();
  EXPECT_EQ(decision.state.lock, kNewKey);
  EXPECT_FALSE(find<Fence>(decision));
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.seen.dcs.cluster.leader = LeaderKey{"pg1", kNewKey.lease, kNewKey.mod_revision};
  c.seen.dcs.cluster.revision = 300;
  c.seen.lease.epoch = kNewKey;
  c.seen.lease.held_until = at(104s);
  decision = c.decide();
  ASSERT_TRUE(find<Arm>(decision));
  EXPECT_EQ(find<Arm>(decision)->epoch, kNewKey);
}

// As after a pause in which the agent was restarted and etcd was away.
TEST(Failsafe, ItIsTakenBackToArmTheFenceAfterAPause) {
  auto c = etcd_is_back();
  c.seen.guard.suspended = true;
  c.seen.dcs.cluster.unfenced["pg1"] = 160;
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  auto decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::retake));
  ASSERT_TRUE(find<SwitchFence>(decision)) << "the promises' deadline lies ahead";
  EXPECT_TRUE(find<SwitchFence>(decision)->on);
  c.seen.dcs.cluster.leader = LeaderKey{"pg1", kEpoch.lease, kEpoch.mod_revision};
  decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::readopt));
}

TEST(Failsafe, AReadMayTellOfItBeforeTheAnswerComes) {
  auto c = etcd_is_back();
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  c.seen.dcs.cluster.leader = LeaderKey{"pg1", kNewKey.lease, kNewKey.mod_revision};
  c.state = c.decide().state;
  EXPECT_EQ(c.state.lock, kNewKey);
  c.seen.txn_ends = {{TxnKind::retake, true, false, true, kNewKey.mod_revision, kNewKey.lease}};
  auto decision = c.decide();
  EXPECT_EQ(decision.state.lock, kNewKey);
  EXPECT_FALSE(find<DropLease>(decision));
}

TEST(Failsafe, ARefusalIsFollowedByARead) {
  Case c;
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::readopt));
  c.seen.txn_ends = {{TxnKind::readopt, true, false, false, 210, kNewKey.lease}};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::readopt)) << "what was read is older than that";
}

TEST(Failsafe, ALockTakenBackTooLateIsGivenUp) {
  auto c = etcd_is_back();
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  c.seen.txn_ends = {{TxnKind::retake, true, false, true, kNewKey.mod_revision, kNewKey.lease}};
  c.seen.guard = {ServerPhase::none, false, {}, {}, {}, {}};
  auto decision = c.decide();
  EXPECT_NE(decision.state.lock, kNewKey);
  ASSERT_TRUE(find<DropLease>(decision));
  EXPECT_TRUE(find<DropLease>(decision)->revoke);
}

TEST(Failsafe, ALostAnswerToTakingBackIsMadeUpForByARead) {
  auto c = etcd_is_back();
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  c.seen.dcs.cluster.leader = LeaderKey{"pg1", kNewKey.lease, kNewKey.mod_revision};
  EXPECT_EQ(c.decide().state.lock, kNewKey);
  c.seen.dcs.cluster.leader->lease = 99;
  EXPECT_TRUE(find<Fence>(c.decide())) << "anybody can write a name";
}

TEST(Failsafe, SomebodyElsesKeyEndsIt) {
  auto c = etcd_is_back();
  c.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 250};
  EXPECT_TRUE(find<Fence>(c.decide()));
}

TEST(Failsafe, WithoutPromisesAVanishedKeyIsNotTakenBack) {
  auto c = etcd_is_back();
  c.seen.failsafe = {};
  c.seen.lease = {lease::Renewal::State::alive, kNewKey.lease, 5s, {}, {}};
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::retake));
  EXPECT_TRUE(find<Fence>(decision));
}

TEST(Failsafe, ANewAgentAsksThoseThatTheOneBeforeItWroteDown) {
  auto c = on_promises();
  auto task = c.state.failsafe.task;
  c.state = {};
  c.seen.dcs = {};
  c.seen.dcs.asked = true;
  c.seen.remembered_task = task;
  auto decision = c.decide();
  ASSERT_TRUE(find<AskPromises>(decision));
  EXPECT_EQ(find<AskPromises>(decision)->task, task);
  c.seen.remembered_task->epoch = kNewKey;
  EXPECT_FALSE(find<AskPromises>(c.decide()));
}

Case bound() {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.promise = lease::Promise{"pg2", {12, 90}, at(101s)};
  return c;
}

TEST(Promise, NobodyTakesTheLockBeforeItsPromiseHasRunOut) {
  auto c = bound();
  c.seen.server.receiver_state = "streaming";
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  EXPECT_FALSE(find<Reconfigure>(decision)) << "the leader may still be there to stream from";
  EXPECT_FALSE(decision.leaderless_revision);
  EXPECT_EQ(decision.next_wake, at(101s));
  c.now.boot = at(101s);
  c.seen.server.receiver_state.clear();
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "with figures from before";
  c.seen.server.measured_at = at(101001ms).time_since_epoch();
  c.now.boot = at(101100ms);
  c.seen.peers->asked_at = at(101050ms);
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Promise, IsVoidAfterARelease) {
  auto c = bound();
  c.seen.dcs.cluster.release = ReleaseNote{"pg2", 90, 1, Lsn{}, 150};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.promise->epoch.mod_revision = 91;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "given to a later epoch";
}

TEST(Promise, IsVoidOnceALaterLeaderWasSeen) {
  auto c = bound();
  c.seen.promise->epoch = {12, 80};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Promise, AnAgentThatHasJustStartedTakesNoLock) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.state.began_at = at(96s);
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.release = ReleaseNote{"pg2", 90, 1, Lsn{}, 150};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.release.reset();
  c.seen.dcs.cluster.failsafe.reset();
  c.seen.dcs.cluster.failsafe_revision = 0;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire)) << "nobody can have asked it";
}

TEST(Promise, WhoIsNotListedDoesNotTakeTheLock) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.failsafe->erase("pg1");
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  EXPECT_TRUE(says(decision, "failsafe key does not name me"));
  c.seen.dcs.cluster.release = ReleaseNote{"pg2", 90, 1, Lsn{}, 150};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Promise, AnAcquisitionWithoutAnswerMayStillCome) {
  auto c = Case().leaderless();
  c.seen.txn_ends = {{TxnKind::acquire}};
  EXPECT_EQ(c.decide().state.unsure_until, at(110s));
}

}  // namespace
}  // namespace pgsteady::core::testing
