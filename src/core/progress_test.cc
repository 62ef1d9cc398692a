#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

// A leader whose WAL has waited for its disk since 90 s.
Case unflushed() {
  Case c;
  c.seen.server.insert_lsn = Lsn{1200};
  c.seen.server.flush_lsn = Lsn{1000};
  c.state.unflushed = Stall{Lsn{1000}, at(90s)};
  return c;
}

// Its own commit was sent at 91 s, nothing came back; primary_start_timeout is 9 s or less.
Case hanging() {
  auto c = unflushed();
  c.seen.dcs.cluster.config =
      dynamic_config_from_object({{"ttl", 5}, {"primary_start_timeout", 8}});
  c.seen.commit_probe = CommitProbe{at(91s), false, false};
  c.seen.probing = true;
  return c;
}

void make_others_unable(Case& c) {
  c.seen.dcs.cluster.members.resize(1);
}

TEST(Progress, AnIdleServerIsNotWrittenTo) {
  auto c = Case();
  c.seen.server.insert_lsn = c.seen.server.flush_lsn = Lsn{1000};
  c.state = c.decide().state;
  c.now.boot += 100s;
  c.seen.guard.deadline = c.now.boot + 3s;
  EXPECT_FALSE(find<ProbeCommit>(c.decide()));
}

TEST(Progress, WalThatStaysUnflushedIsProbedOnce) {
  auto c = unflushed();
  EXPECT_TRUE(find<ProbeCommit>(c.decide()));
  c.state.unflushed->since = at(99s);
  EXPECT_FALSE(find<ProbeCommit>(c.decide())) << "not for long enough";
  c = unflushed();
  c.seen.server.flush_lsn = Lsn{1001};
  EXPECT_FALSE(find<ProbeCommit>(c.decide())) << "it moves";
  c = unflushed();
  c.seen.probing = true;
  EXPECT_FALSE(find<ProbeCommit>(c.decide()));
}

TEST(Progress, ATransactionThatIsLeftOpenIsNoStall) {
  auto c = unflushed();
  c.seen.commit_probe = CommitProbe{at(91s), true, false};
  auto decision = c.decide();
  EXPECT_FALSE(find<Fence>(decision));
  EXPECT_FALSE(find<ProbeCommit>(decision));
  EXPECT_EQ(decision.state.unflushed->since, c.now.boot);
}

TEST(Progress, CommitsThatHangCostTheLock) {
  auto c = hanging();
  auto decision = c.decide();
  ASSERT_TRUE(find<Fence>(decision));
  EXPECT_TRUE(decision.unfit);
  EXPECT_TRUE(says(decision, "demoting self because commits make no progress"));
  c.seen.commit_probe->sent_at = at(93s);
  decision = c.decide();
  EXPECT_FALSE(find<Fence>(decision));
  EXPECT_EQ(std::min(decision.next_wake, at(101s)), decision.next_wake);
  c = hanging();
  make_others_unable(c);
  EXPECT_FALSE(find<Fence>(c.decide())) << "nobody else could lead";
}

TEST(Progress, AServerThatDoesNotAnswerCostsTheLock) {
  auto c = hanging();
  c.seen.server.state = ServerState::hung;
  auto decision = c.decide();
  EXPECT_FALSE(find<Fence>(decision));
  c.state = decision.state;
  c.now.boot += 8s;
  c.seen.guard.deadline = c.now.boot + 3s;
  c.seen.lease.held_until = c.seen.guard.deadline;
  EXPECT_TRUE(find<Fence>(c.decide()));
}

TEST(Progress, ADataDirectoryThatIsGoneCostsTheLock) {
  Case c;
  c.seen.dcs.cluster.members.push_back(member("pg2", "replica", 12));
  EXPECT_FALSE(find<Fence>(c.decide()));
  c.seen.server.data = DataDirectory::empty;
  c.state = c.decide().state;
  EXPECT_FALSE(find<Fence>(c.decide())) << "one look proves nothing";
  c.later(5s);
  c.seen.guard.deadline = c.seen.lease.held_until.emplace(c.now.boot + 3s);
  EXPECT_FALSE(find<Fence>(c.decide())) << "it is the same look still";
  c.seen.server.measured_at = c.now.boot.time_since_epoch();
  EXPECT_TRUE(says(c.decide(), "demoting self because the data directory is gone"));
  make_others_unable(c);
  EXPECT_FALSE(find<Fence>(c.decide())) << "its sessions are all that is left";
}

TEST(Progress, WhoCouldLeadIsCountedByTheSyncKey) {
  auto c = hanging();
  c.seen.dcs.cluster.members.push_back(member("pg4", "replica", 13));
  auto& cluster = c.seen.dcs.cluster;
  cluster.config->synchronous_mode = SynchronousMode::quorum;
  cluster.sync = SyncState{"pg1", {}, 0};
  EXPECT_FALSE(find<Fence>(c.decide())) << "nobody may";
  cluster.sync = SyncState{"pg1", {"pg2", "pg3"}, 1};
  EXPECT_TRUE(find<Fence>(c.decide()));
  std::erase_if(cluster.members, [](const Member& m) { return m.name == "pg3"; });
  EXPECT_FALSE(find<Fence>(c.decide())) << "no vote for pg2";
  cluster.failover = FailoverRequest{};
  cluster.failover->candidate = "pg4";
  cluster.failover->force = true;
  EXPECT_TRUE(find<Fence>(c.decide())) << "by an operator's word";
}

// Ends the server `times` times, two seconds apart, and starts it in between.
Decision crashes(Case& c, int times) {
  for (int i = 0; i < times; ++i) {
    c.running_primary();
    c.state = c.decide().state;
    c.seen.server.state = ServerState::starting;
    c.now.boot += 100ms;
    auto decision = c.decide();
    c.state = decision.state;
    if (i + 1 == times) return decision;
  }
  return c.decide();
}

Decision up_again(Case& c) {
  return c.running_primary().decide();
}

TEST(Progress, AServerThatCrashesAgainAndAgainCostsTheLock) {
  Case twice, thrice, six;
  crashes(twice, 2);
  EXPECT_FALSE(find<StopServer>(up_again(twice)));
  EXPECT_FALSE(find<Fence>(crashes(thrice, 3))) << "its recovery brings back all commits";
  EXPECT_FALSE(find<StopServer>(up_again(thrice))) << "nobody streams yet";
  thrice.seen.server.replication = {{"", "pg3", "", "streaming", "", 0, Lsn{1000}}};
  auto decision = up_again(thrice);
  ASSERT_TRUE(find<StopServer>(decision));
  EXPECT_EQ(find<StopServer>(decision)->mode, StopServer::Mode::fast);
  EXPECT_EQ(decision.state.successor, "pg3");
  EXPECT_TRUE(find<Fence>(crashes(six, 6)));
  thrice.state.crashes = {at(30s), at(35s), at(39s)};
  EXPECT_FALSE(find<StopServer>(up_again(thrice))) << "long ago";
}

TEST(Progress, APromotionThatDoesNotEndCostsTheLock) {
  auto c = Case().leaderless().leads().running_standby();
  c.seen.dcs.cluster.members.push_back(member("pg2", "replica", 12));
  c.seen.job_ends = {{JobKind::promote, false, false, "PostgreSQL did not end its recovery"}};
  auto decision = c.decide();
  EXPECT_TRUE(find<Fence>(decision));
  EXPECT_FALSE(find<Promote>(decision));
  c.seen.job_ends[0].harmless = true;
  c.seen.dcs.cluster.members.resize(1);
  EXPECT_FALSE(find<Fence>(c.decide()));
}

TEST(Progress, WhoGaveWayReleasesTheLockOnceReaped) {
  auto c = Case().stopped("in production");
  c.seen.guard.armed = {};
  c.state.unfit_until = at(120s);
  auto decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::give_up));
  EXPECT_FALSE(find<Arm>(decision));
  EXPECT_FALSE(find<StartServer>(decision));
  make_others_unable(c);
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::give_up));
}

TEST(Progress, WhatCannotBeReapedLetsTheLeaseRunOut) {
  auto c = Case();
  c.seen.guard.phase = ServerPhase::killing;
  auto decision = c.decide();
  EXPECT_FALSE(find<DropLease>(decision));
  c.state = decision.state;
  c.now.boot += 2s;
  decision = c.decide();
  ASSERT_TRUE(find<DropLease>(decision));
  EXPECT_FALSE(find<DropLease>(decision)->revoke) << "nothing may hasten the lease's end";
  EXPECT_FALSE(find_txn(decision, TxnKind::give_up)) << "a release says that nothing is left";
  EXPECT_FALSE(decision.state.lock);
}

TEST(Progress, AKeyThatRunsOutIsNotTakenUpAgain) {
  auto c = Case().no_lock().running_standby();
  c.seen.remembered = kEpoch;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::readopt));
  c.state.unfit_until = at(110s);
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::readopt));
}

TEST(Progress, WhoGaveWayLeavesTheRaceToOthers) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.state.unfit_until = at(101s);
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.now.boot += 2s;
  c.seen.peers->asked_at = c.now.boot - 50ms;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Progress, ADataDirectoryThatCannotBeReadCostsTheLock) {
  auto c = Case().stopped("in production");
  c.seen.server.data = DataDirectory::unknown;
  c.seen.server.control.reset();
  auto decision = c.decide();
  EXPECT_FALSE(decision.state.giving_up);
  c.state = decision.state;
  c.now.boot += 11s;
  c.seen.guard.deadline = c.now.boot + 3s;
  c.seen.lease.held_until = c.seen.guard.deadline;
  EXPECT_TRUE(c.decide().state.giving_up);
}

}  // namespace
}  // namespace pgsteady::core::testing
