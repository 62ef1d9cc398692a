#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

TEST(Race, WaitsUntilTheOldPrimaryIsSurelyFenced) {
  auto c = Case().leaderless();
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  EXPECT_FALSE(find<AskPeers>(decision));
  EXPECT_LE(decision.next_wake, at(104990ms));
}

TEST(Race, ALeaseThatIsOverIsTakenBeforeEtcdDeletesTheKey) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 90};
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.state.takeover.polled({12, 0, 5, 1, at(98500ms), at(98502ms)});
  c.state.takeover.polled({12, 0, 5, 1, at(99400ms), at(99402ms)});
  EXPECT_TRUE(find<PollLease>(c.decide()));
  c.state.takeover.polled({12, 0, 5, 1, at(99550ms), at(99552ms)});
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.state.takeover.read(at(99560ms), 1);
  ASSERT_TRUE(c.state.takeover.safe_at());
  EXPECT_LT(*c.state.takeover.safe_at(), c.now.boot);
  c.seen.peers->asked_at = *c.state.takeover.safe_at();
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::acquire);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares[0], Compare::unchanged("leader", 90));
  EXPECT_TRUE(find<PollLease>(decision)) << "what looks over may turn out not to be";
}

TEST(Race, AsksTheOthersThenTakesTheLock) {
  auto c = Case().leaderless();
  auto decision = c.decide();
  ASSERT_TRUE(find<AskPeers>(decision));
  EXPECT_EQ(find<AskPeers>(decision)->members, std::vector<MemberName>{"pg3"});
  c.peer("pg3", Lsn{1000});
  decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::acquire);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares,
            (std::vector<Compare>{Compare::absent("leader"), Compare::unchanged("failsafe", 6),
                                  Compare::none_newer("unfenced/", c.seen.dcs.cluster.revision),
                                  Compare::unchanged("timeline", 0)}));
  EXPECT_EQ(txn->operations[0], Operation::put("leader", "pg1", kLease));
}

TEST(Race, TheNextTimelineIsReservedWithTheLock) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.dcs.cluster.reserved_timeline = 7;  // of a leader that may not have got so far
  c.seen.dcs.cluster.reserved_revision = 88;
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::acquire);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares.back(), Compare::unchanged("timeline", 88));
  EXPECT_EQ(txn->operations.back(), Operation::put("timeline", "8"));
  c.state = decision.state;
  c.seen.txn_ends = {{TxnKind::acquire, true, false, true, 300, kLease}};
  EXPECT_EQ(c.decide().state.reserved_timeline, 8u);
  c.seen.txn_ends = {{TxnKind::readopt, true, false, true, 300, kLease}};
  EXPECT_EQ(c.decide().state.reserved_timeline, 0u);
}

TEST(Race, LosesToWhoeverIsAhead) {
  struct {
    Timeline timeline;
    std::uint64_t lsn;
    bool win;
  } rows[] = {{1, 1000, true}, {1, 999, true}, {1, 1001, false}, {2, 10, false}};
  for (auto row : rows) {
    auto c = Case().leaderless().peer("pg3", Lsn{row.lsn});
    c.seen.peers->peers[0].timeline = row.timeline;
    EXPECT_EQ(find_txn(c.decide(), TxnKind::acquire) != nullptr, row.win)
        << row.timeline << " " << row.lsn;
  }
}

TEST(Race, LosesToARunningPrimary) {
  auto c = Case().leaderless().peer("pg3", Lsn{1});
  c.seen.peers->peers[0].primary = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, ASilentOrExemptMemberDoesNotCount) {
  auto c = Case().leaderless().peer("pg3", Lsn{5000});
  c.seen.peers->peers[0].nofailover = true;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.peers->peers[0] = PeerFigure{};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, WaitsForAPeerThatHasNotMeasuredYetButNotForEver) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000}, 0);
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  c.state.takeover.key_gone(at(99900ms), 5s);
  c.state.takeover.released();
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.now.boot = at(100500ms);
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, OldFiguresAreMeasuredAnew) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.server.measured_at = at(89s).time_since_epoch();
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  EXPECT_TRUE(decision.measure_now);
}

TEST(Race, WalThatIsStillReplayedCountsButAPausedReplayDoesNotBlockForEver) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.server.replaying = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  c.state.takeover.key_gone(at(30s), 5s);
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, CutsAWalReceiverThatStillRunsOrMayComeBack) {
  for (const char* state : {"streaming", ""}) {
    auto c = Case().leaderless().peer("pg3", Lsn{1000});
    c.seen.server.receiver_state = state;
    c.seen.server.upstream = "10.0.0.2:5432";
    auto decision = c.decide();
    EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
    ASSERT_TRUE(find<Reconfigure>(decision));
    EXPECT_FALSE(find<Reconfigure>(decision)->upstream);
    EXPECT_FALSE(decision.leaderless_revision);
  }
}

TEST(Race, AReceiverThatIsNotCutHoldsNobodyUpForEver) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.server.upstream = "10.0.0.2:5432";
  c.state.cut_since = at(10s);  // in a race before
  c.state = c.decide().state;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.later(11s);
  c.seen.dcs.read_at = c.now.boot;
  c.seen.server.measured_at = c.now.boot.time_since_epoch();
  c.seen.peers->asked_at = c.now.boot;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.server.receiver_state = "streaming";
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "its figure grows";
}

TEST(Race, NofailoverNeverRaces) {
  auto c = Case().leaderless().peer("pg3", Lsn{1});
  c.self.tags.values["nofailover"] = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, TooFarBehindNeverRaces) {
  auto c = Case().leaderless().peer("pg3", Lsn{1});
  c.seen.dcs.cluster.status = ClusterStatus{Lsn{1000 + (1 << 20)}, {}};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.status = ClusterStatus{Lsn{1001 + (1 << 20)}, {}};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, CheckTimelineHoldsBackAnOldTimeline) {
  auto c = Case().leaderless().peer("pg3", Lsn{1});
  c.seen.dcs.cluster.history = {{1, Lsn{400}, "", "", ""}};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.config->check_timeline = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

Case released(Lsn end, const MemberName& candidate) {
  auto c = Case().leaderless();
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  c.seen.dcs.cluster.release = ReleaseNote{"pg2", 90, 1, end, 195};
  c.seen.dcs.cluster.failover = FailoverRequest{"pg2", candidate, "", 195};
  return c;
}

TEST(Race, TheChosenSuccessorTakesOverAtOnce) {
  EXPECT_TRUE(find_txn(released(Lsn{990}, "pg1").decide(), TxnKind::acquire));
}

// All nodes were stopped together: the old primary's last WAL is on its own disk only.
TEST(Race, WalThatTheReleaseNamesIsWaitedForButNotForEver) {
  auto c = released(Lsn{1000}, "pg1");
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  EXPECT_FALSE(find<AskPeers>(decision));
  EXPECT_TRUE(decision.leaderless_revision) << "the others must learn how far it is";
  EXPECT_LE(decision.next_wake, at(110s));
  c.state = decision.state;
  c.later(c.seen.dcs.cluster.settings().primary_start_timeout);
  EXPECT_TRUE(find<AskPeers>(c.decide()));
}

TEST(Race, WalOfALaterTimelineIsNotBehindARelease) {
  auto c = released(Lsn{1000}, "pg1");
  c.seen.server.timeline = 2;
  EXPECT_TRUE(find<AskPeers>(c.decide()));
}

TEST(Race, AServerThatIsComingUpIsWaitedForButNotForEver) {
  auto c = Case().leaderless().peer("pg3", Lsn{0}, 0);
  c.seen.peers->peers[0].running = false;
  c.seen.peers->peers[0].starting = true;
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  c.state.takeover.key_gone(at(94s), 5s);
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.now.boot += 2s;
  c.seen.peers->asked_at = c.now.boot;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, OthersGiveTheSuccessorAHeadStart) {
  auto c = released(Lsn{990}, "pg3");
  EXPECT_FALSE(find<AskPeers>(c.decide()));
  c.state = c.decide().state;
  c.now.boot += 3s;
  EXPECT_TRUE(find<AskPeers>(c.decide()));
}

TEST(Race, AReleaseOfAnEarlierLeaderIsNoRelease) {
  auto c = released(Lsn{990}, "pg1");
  c.seen.dcs.cluster.release->leader_revision = 80;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Race, TheKeyWithOurNameIsTakenUpAgainAsANewEpoch) {
  auto c = Case().no_lock().stopped("in production");
  c.seen.dcs.cluster.leader->lease = 10;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::readopt)) << "anybody can write a name";
  c.seen.remembered = lease::Epoch{10, 100};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::readopt);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::unchanged("leader", 100)});
  EXPECT_FALSE(find<StartServer>(decision));
}

TEST(Race, ALeaderKeyWithoutALeaseIsRemovedAfterATtl) {
  auto c = Case().follows();
  c.seen.dcs.cluster.leader = LeaderKey{"garbage", 0, 150};
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::remove_stale_leader));
  c.state = decision.state;
  c.now.boot += 5s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::remove_stale_leader));
}

TEST(Race, AnAcquiredLockIsHeldByItsRevision) {
  auto c = Case().leaderless();
  c.seen.txn_ends = {{TxnKind::acquire, true, false, true, 210, kLease}};
  auto decision = c.decide();
  EXPECT_EQ(decision.state.lock, (lease::Epoch{kLease, 210}));
  EXPECT_TRUE(find<HoldKey>(decision));
  EXPECT_FALSE(find<Promote>(decision));
}

TEST(Race, WithoutItsWatchdogANodeDoesNotLead) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.guard.watchdog_failed = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  EXPECT_TRUE(c.decide().unfit);
  auto holder = Case().stopped("in production");
  holder.seen.guard.armed = {};
  holder.seen.guard.watchdog_failed = true;
  EXPECT_TRUE(find_txn(holder.decide(), TxnKind::give_up));
  EXPECT_FALSE(find<Arm>(holder.decide()));
}

// A key on a lease that goes on being renewed would keep everybody from leading.
TEST(Race, AKeyOfOursThatCannotBeArmedIsLetGo) {
  auto c = Case().no_lock().running_standby();
  c.seen.guard.watchdog_failed = true;
  auto decision = c.decide();
  ASSERT_TRUE(find<DropLease>(decision));
  EXPECT_TRUE(find<DropLease>(decision)->revoke);
  EXPECT_FALSE(find_txn(decision, TxnKind::readopt));
}

}  // namespace
}  // namespace pgsteady::core::testing
