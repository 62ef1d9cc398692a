#include "core/decide.h"

#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

// --- fence ---

TEST(Fence, APrimaryWithoutTheLockIsFenced) {
  auto c = Case().no_lock();
  c.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 150};
  EXPECT_TRUE(find<Fence>(c.decide()));
}

TEST(Fence, AlsoOneThatSomebodyPromotedByHand) {
  auto c = Case().follows();
  EXPECT_FALSE(find<Fence>(c.decide()));
  c.seen.server.in_recovery = false;
  EXPECT_TRUE(find<Fence>(c.decide()));
}

TEST(Fence, TheLockIsLostWhenEtcdOrARenewalSaysSo) {
  auto overwritten = Case();
  overwritten.seen.dcs.cluster.leader->mod_revision = 120;
  auto deleted = Case();
  deleted.seen.dcs.cluster.leader.reset();
  auto other = Case();
  other.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 150};
  auto renewal = Case();
  renewal.seen.lease.state = lease::Renewal::State::key_lost;
  auto lease = Case();
  lease.seen.lease.state = lease::Renewal::State::lease_lost;
  for (const auto& c : {overwritten, deleted, other, renewal, lease}) {
    auto decision = c.decide();
    EXPECT_FALSE(decision.state.lock);
    EXPECT_TRUE(find<LetGo>(decision));
    EXPECT_TRUE(find<Fence>(decision));
  }
}

TEST(Fence, AReadFromBeforeTheLockWasTakenIsNoLoss) {
  auto c = Case();
  c.seen.dcs.cluster.leader.reset();
  c.seen.dcs.cluster.revision = 99;
  c.state.written_revision = 100;
  auto decision = c.decide();
  EXPECT_TRUE(decision.state.lock);
  EXPECT_FALSE(find<Fence>(decision));
}

TEST(Fence, WithoutEtcdThePrimaryServesUntilItsDeadline) {
  auto c = Case();
  c.seen.dcs.reachable = false;
  auto decision = c.decide();
  EXPECT_FALSE(find<Fence>(decision));
  EXPECT_LE(decision.next_wake, at(103s));
  c.now.boot = at(102950ms);
  decision = c.decide();
  EXPECT_TRUE(find<Fence>(decision));
  EXPECT_FALSE(decision.state.lock);
  EXPECT_TRUE(says(decision, "demoted self because failed to update leader lock in DCS"));
}

TEST(Fence, ANewAgentTakesOverWhatItsGuardianHolds) {
  auto c = Case();
  c.state = State{};
  auto decision = c.decide();
  ASSERT_TRUE(find<AdoptLease>(decision));
  EXPECT_EQ(find<AdoptLease>(decision)->lease, kLease);
  EXPECT_EQ(find<AdoptLease>(decision)->counted, at(103s) - 4200ms);
  EXPECT_EQ(find<HoldKey>(decision)->epoch, kEpoch);
  EXPECT_FALSE(find<Fence>(decision));
  EXPECT_FALSE(find<GrantLease>(decision));
}

TEST(Fence, AnEpochWithoutLockAndServerIsDisarmed) {
  auto c = Case().stopped("in production");
  c.seen.dcs.cluster.leader = LeaderKey{"pg2", 12, 150};
  auto decision = c.decide();
  ASSERT_TRUE(find<Disarm>(decision));
  EXPECT_EQ(find<Disarm>(decision)->epoch, kEpoch);
  EXPECT_FALSE(find<StartServer>(decision)) << "it would be killed at the old deadline";
}

TEST(Fence, AnEtcdThatWasWipedIsANewHistory) {
  auto c = Case();
  c.state.read_revision = 5000;
  c.state.written_revision = 5000;
  auto decision = c.decide();
  EXPECT_FALSE(decision.state.lock);
  EXPECT_EQ(decision.state.written_revision, 0);
  EXPECT_TRUE(find<LetGo>(decision));
}

TEST(Fence, AFailedTransactionIsNotRepeatedAtOnce) {
  auto c = Case().follows();
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::member));
  c.seen.txn_ends = {{TxnKind::member, false, false, false, 0, kLease}};
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::member));
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.now.boot += 1s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::member));
}

// --- holding the lock ---

TEST(Leader, ArmsBeforeAnythingElse) {
  auto c = Case().leaderless().leads().running_standby();
  c.seen.guard.armed = {};
  auto decision = c.decide();
  ASSERT_TRUE(find<Arm>(decision));
  EXPECT_EQ(find<Arm>(decision)->epoch, kEpoch);
  EXPECT_EQ(find<Arm>(decision)->deadline, at(103s));
  EXPECT_FALSE(find<Promote>(decision));
}

TEST(Leader, DoesNotArmWithoutACountedRenewal) {
  auto c = Case().leads().running_standby();
  c.seen.guard.armed = {};
  c.seen.lease.held_until.reset();
  EXPECT_FALSE(find<Arm>(c.decide()));
  EXPECT_FALSE(find<Promote>(c.decide()));
}

TEST(Leader, PromotesOnceArmed) {
  auto decision = Case().leads().running_standby().decide();
  ASSERT_TRUE(find<Promote>(decision));
  EXPECT_TRUE(says(decision, "promoted self to leader by acquiring session lock"));
}

TEST(Leader, StartsInPlaceAfterACrash) {
  auto decision = Case().stopped("in production").decide();
  ASSERT_TRUE(find<StartServer>(decision));
  EXPECT_TRUE(find<StartServer>(decision)->as_primary);
}

TEST(Leader, StartsAFormerStandbyInRecovery) {
  auto decision = Case().stopped("shut down in recovery").decide();
  ASSERT_TRUE(find<StartServer>(decision));
  EXPECT_FALSE(find<StartServer>(decision)->as_primary);
}

TEST(Leader, NeverStartsAPrimaryUnarmed) {
  auto c = Case().stopped("in production");
  c.seen.guard.armed = {};
  EXPECT_FALSE(find<StartServer>(c.decide()));
}

TEST(Leader, WaitsUntilAKilledServerIsReaped) {
  auto c = Case().stopped("in production");
  c.seen.guard.phase = ServerPhase::killing;
  auto decision = c.decide();
  EXPECT_FALSE(find<StartServer>(decision));
  EXPECT_FALSE(find<Arm>(decision));
}

TEST(Leader, GivesTheLockUpWithoutData) {
  auto c = Case().stopped("in production");
  c.seen.server.data = DataDirectory::empty;
  c.seen.server.control.reset();
  auto decision = c.decide();
  EXPECT_TRUE(find<Disarm>(decision)) << "the epoch is closed before the note says so";
  EXPECT_FALSE(find_txn(decision, TxnKind::give_up));
  c.state = decision.state;
  c.seen.guard.armed = {};
  decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::give_up));
  EXPECT_FALSE(find<Arm>(decision));
}

TEST(Leader, AnEpochTakenOverStartsNothingBeforeItIsProven) {
  auto c = Case().stopped("in production");
  c.seen.lease.held_until.reset();
  EXPECT_FALSE(find<StartServer>(c.decide()));
  auto standby = Case().running_standby();
  standby.seen.lease.held_until.reset();
  EXPECT_FALSE(find<Promote>(standby.decide()));
}

TEST(Leader, GivesTheLockUpWhenTheServerDoesNotStart) {
  auto c = Case().stopped("in production");
  c.state.start.failures = 3;
  auto given_up = c.decide();
  EXPECT_TRUE(find<Disarm>(given_up));
  EXPECT_TRUE(given_up.state.giving_up);
  c.seen.dcs.cluster.members.resize(1);  // nobody else could
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::give_up));
  EXPECT_TRUE(find<StartServer>(decision));
}

TEST(Leader, KeepsTheLock) {
  auto decision = Case().decide();
  EXPECT_TRUE(says(decision, "no action. I am (pg1), the leader with the lock"));
  for (const auto& action : decision.actions) {
    EXPECT_FALSE(std::holds_alternative<Fence>(action) ||
                 std::holds_alternative<StopServer>(action));
  }
}

TEST(Leader, AnIdleLeaderWritesNothingTwice) {
  auto c = Case();
  auto first = c.decide();
  EXPECT_TRUE(find_txn(first, TxnKind::status));
  EXPECT_TRUE(find_txn(first, TxnKind::member));
  c.state = first.state;
  c.now.boot += 2s;
  c.seen.guard.deadline = c.now.boot + 3s;
  auto second = c.decide();
  EXPECT_FALSE(find_txn(second, TxnKind::status));
  EXPECT_FALSE(find_txn(second, TxnKind::member));
}

TEST(Leader, PublishesTheHistoryAfterAPromotion) {
  auto c = Case();
  c.seen.server.timeline = 2;
  c.seen.server.history = {{1, Lsn{500}, "no recovery target specified", "", ""}};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::history);
  ASSERT_TRUE(txn);
  EXPECT_NE(txn->operations[0].value.find("[[1,500,"), std::string::npos);
  EXPECT_NE(txn->operations[0].value.find("\"pg1\""), std::string::npos);
  EXPECT_TRUE(find<Checkpoint>(decision));
}

TEST(Leader, AnotherTtlMovesTheLockToANewLease) {
  auto c = Case();
  c.state.asked_ttl = 5s;
  EXPECT_FALSE(find<GrantLease>(c.decide()));
  c.seen.dcs.cluster.config->ttl = 9s;
  auto decision = c.decide();
  ASSERT_TRUE(find<GrantLease>(decision));
  EXPECT_EQ(find<GrantLease>(decision)->ttl, 9s);
  c.state = decision.state;
  c.seen.lease = {lease::Renewal::State::alive, 55, 9s, {}, {}};
  decision = c.decide();
  EXPECT_FALSE(find<GrantLease>(decision));
  const auto* txn = find_txn(decision, TxnKind::readopt);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0], Operation::put("leader", "pg1", 55));

  c.seen.txn_ends = {{TxnKind::readopt, true, false, true, 230, 55}};
  c.seen.dcs.cluster.leader = LeaderKey{"pg1", 55, 230};
  c.seen.dcs.cluster.revision = 230;
  decision = c.decide();
  EXPECT_EQ(decision.state.lock, (lease::Epoch{55, 230}));
  EXPECT_FALSE(find<Fence>(decision)) << "the old epoch's deadline still holds";
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.seen.lease.epoch = lease::Epoch{55, 230};
  c.seen.lease.held_until = at(106s);
  EXPECT_TRUE(find<Arm>(c.decide()));
}

TEST(Leader, AnEpochThatTheGuardianRefusesIsGivenUpAndTakenAnew) {
  auto c = Case().stopped("in production");
  c.seen.guard.armed = {};
  c.seen.guard.refused = kEpoch;
  auto decision = c.decide();
  EXPECT_FALSE(decision.state.lock);
  EXPECT_TRUE(find<LetGo>(decision));
  c.state = decision.state;
  c.now.boot += 1s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::readopt));
}

// --- the race ---

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
  EXPECT_LT(*c.state.takeover.safe_at(), c.now.boot);
  c.seen.peers->asked_at = *c.state.takeover.safe_at();
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::acquire);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::unchanged("leader", 90)});
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
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::absent("leader")});
  EXPECT_EQ(txn->operations[0], Operation::put("leader", "pg1", kLease));
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

TEST(Race, CutsAWalReceiverThatStillRuns) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.server.receiver_state = "streaming";
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_FALSE(find<Reconfigure>(decision)->upstream);
  EXPECT_FALSE(decision.leaderless_revision);
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

Case released(Lsn end, MemberName candidate) {
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

TEST(Race, ASuccessorWithoutAllTheWalIsNoSuccessor) {
  auto decision = released(Lsn{1000}, "pg1").decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::acquire));
  EXPECT_TRUE(find<AskPeers>(decision));
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

// --- bootstrap ---

Case empty_node() {
  auto c = Case().no_lock().stopped("");
  c.seen.server = LocalServer{};
  c.seen.server.data = DataDirectory::empty;
  c.seen.dcs.cluster = ClusterView{};
  c.seen.dcs.cluster.revision = 200;
  return c;
}

TEST(Bootstrap, RacesForTheInitializeKey) {
  auto decision = empty_node().decide();
  const auto* txn = find_txn(decision, TxnKind::claim_initialize);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0], Operation::put("initialize", "", kLease));
  EXPECT_FALSE(find<RunInitdb>(decision));
}

TEST(Bootstrap, OnlyTheHolderRunsInitdb) {
  auto c = empty_node();
  c.seen.dcs.cluster.initialize = "";
  c.seen.dcs.cluster.initialize_lease = kLease;
  EXPECT_TRUE(find<RunInitdb>(c.decide()));
  c.seen.dcs.cluster.initialize_lease = 12;
  EXPECT_FALSE(find<RunInitdb>(c.decide()));
}

TEST(Bootstrap, NoInitdbBesideAKnownCluster) {
  auto c = empty_node();
  c.seen.dcs.cluster.initialize = kSystem.text();
  auto decision = c.decide();
  EXPECT_FALSE(find<RunInitdb>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::claim_initialize));
}

TEST(Bootstrap, TheNewPrimaryMakesUsersThenNamesTheCluster) {
  auto c = Case();
  c.seen.dcs.cluster.initialize = "";
  c.seen.dcs.cluster.config_revision = 0;
  c.state.bootstrapping = true;
  EXPECT_TRUE(find<CreateUsers>(c.decide()));
  c.state.users_created = true;
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::finish_initialize);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0], Operation::put("initialize", kSystem.text()));
  EXPECT_EQ(txn->operations[1], Operation::put("config", R"({"ttl":5})"));
}

TEST(Bootstrap, ALostAnswerDoesNotLeaveTheDirectoryMarkedAsRuins) {
  auto c = Case();
  c.state.bootstrapping = true;
  c.seen.interrupted_job = "initdb";
  auto decision = c.decide();
  EXPECT_TRUE(find<ClearMarker>(decision));
  EXPECT_FALSE(decision.state.bootstrapping);
}

TEST(Bootstrap, ANodeWithDataNamesAClusterThatEtcdForgot) {
  auto c = Case().leaderless();
  c.seen.dcs.cluster.initialize.reset();
  const auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::name_cluster);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0], Operation::put("initialize", kSystem.text()));
}

TEST(Bootstrap, AnEmptyNodeMakesNoSecondClusterBesideOneWithData) {
  auto c = empty_node();
  c.seen.dcs.cluster.members = {member("pg2", "replica", 12)};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::claim_initialize));
  c = empty_node();
  c.state.had_cluster = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::claim_initialize));
  c.state = c.decide().state;
  c.now.boot += 11s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::claim_initialize));
}

TEST(Bootstrap, AnInitializeKeyThatNobodyHoldsIsRemoved) {
  auto c = empty_node();
  c.seen.dcs.cluster.initialize = "";
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::cancel_initialize));
  c.state = decision.state;
  c.now.boot += 31s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::cancel_initialize));
}

TEST(Bootstrap, AForeignSystemIsRefused) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.dcs.cluster.initialize = "42";
  auto decision = c.decide();
  ASSERT_TRUE(find<Finish>(decision));
  EXPECT_EQ(find<Finish>(decision)->exit_code, 1);
  EXPECT_TRUE(says(decision, "belongs to a different cluster: 42 !="));
}

// --- following ---

TEST(Follow, SteadyState) {
  auto decision = Case().follows().decide();
  EXPECT_TRUE(says(decision, "no action. I am (pg1), a secondary, and following a leader (pg2)"));
  ASSERT_TRUE(find<PollLease>(decision));
  EXPECT_EQ(find<PollLease>(decision)->lease, 12);
}

TEST(Follow, StreamsFromANewLeader) {
  auto c = Case().follows("pg3");
  c.seen.server.upstream = "10.0.0.2:5432";
  auto decision = c.decide();
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_EQ(find<Reconfigure>(decision)->upstream->name, "pg3");
}

TEST(Follow, AnEmptyNodeClonesFromARunningLeader) {
  auto c = Case().follows().stopped("");
  c.seen.server.control.reset();
  c.seen.server.data = DataDirectory::empty;
  auto decision = c.decide();
  ASSERT_TRUE(find<Clone>(decision));
  EXPECT_EQ(find<Clone>(decision)->from.address, (HostPort{"10.0.0.2", 5432}));
  c.seen.dcs.cluster.members[1].state = "starting";
  EXPECT_FALSE(find<Clone>(c.decide()));
}

TEST(Follow, AnInterruptedCloneIsMadeAnew) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.interrupted_job = "clone";
  EXPECT_TRUE(find<Clone>(c.decide()));
  c.state.clone.failed(c.now.boot);
  EXPECT_FALSE(find<Clone>(c.decide()));
}

struct Position {
  const char* control;
  Timeline local;
  Timeline leader;
  std::uint64_t end;       // of the local WAL
  std::uint64_t switched;  // where timeline 1 ended for the leader; 0: no history published
  const char* then;        // start, rewind, wait
};

TEST(Follow, AncestryDecidesBetweenStreamingAndRewinding) {
  const Position rows[] = {
      {"shut down in recovery", 1, 1, 900, 0, "start"},
      {"shut down in recovery", 1, 2, 900, 900, "start"},
      {"shut down in recovery", 1, 2, 901, 900, "rewind"},
      {"shut down in recovery", 1, 2, 900, 0, "start"},
      {"in production", 1, 2, 100, 900, "rewind"},
      {"shut down", 1, 2, 100, 900, "rewind"},
      {"in production", 1, 1, 100, 0, "start"},
      {"in production", 3, 2, 100, 900, "rewind"},
      {"in production", 1, 0, 100, 0, "wait"},
  };
  for (const auto& row : rows) {
    auto c = Case().follows().stopped(row.control);
    c.seen.server.control->timeline = row.local;
    c.seen.server.control->checkpoint = Lsn{row.end};
    c.seen.dcs.cluster.members[1].timeline = row.leader;
    if (row.switched) c.seen.dcs.cluster.history = {{1, Lsn{row.switched}, "", "", ""}};
    auto decision = c.decide();
    std::string did = find<Rewind>(decision)        ? "rewind"
                      : find<StartServer>(decision) ? "start"
                                                    : "wait";
    EXPECT_EQ(did, row.then) << row.control << " " << row.local << " " << row.leader << " "
                             << row.end;
  }
}

TEST(Follow, TwoTimelinesOfTheSameNumberAreNotTheSame) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.server.control->timeline = 2;
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{500}, "", "", ""}};
  c.seen.server.history = {{1, Lsn{500}, "", "", ""}};
  EXPECT_TRUE(find<StartServer>(c.decide()));
  c.seen.server.history = {{1, Lsn{400}, "", "", ""}};
  EXPECT_TRUE(find<Rewind>(c.decide()));
}

TEST(Follow, AServerThatStillStartsIsPointedAtANewLeader) {
  auto c = Case().follows();
  c.seen.server.state = ServerState::starting;
  EXPECT_FALSE(find<Reconfigure>(c.decide()));
  c.state.upstream = UpstreamMember{"pg3", {"10.0.0.3", 5432}};
  EXPECT_TRUE(find<Reconfigure>(c.decide()));
}

TEST(Follow, AServerThatEndsBeforeItAnswersIsStartedAgainLater) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.state.starting = true;
  auto decision = c.decide();
  EXPECT_FALSE(find<StartServer>(decision));
  EXPECT_EQ(decision.state.start.failures, 1);
  c.state = decision.state;
  c.now.boot += 1s;
  EXPECT_TRUE(find<StartServer>(c.decide()));
}

TEST(Follow, WhatCannotBeRewoundIsCloned) {
  auto c = Case().follows().stopped("in production");
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{50}, "", "", ""}};
  c.seen.server.control->checksums = false;
  EXPECT_TRUE(find<Clone>(c.decide()));
  c.seen.server.control->wal_log_hints = true;
  EXPECT_TRUE(find<Rewind>(c.decide()));
  c.state.rewind_failed = true;
  EXPECT_TRUE(find<Clone>(c.decide()));
}

TEST(Follow, ARunningStandbyThatDivergedIsStopped) {
  auto c = Case().follows();
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{999}, "", "", ""}};
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.seen.dcs.cluster.history = {{1, Lsn{1000}, "", "", ""}};
  EXPECT_FALSE(find<StopServer>(c.decide()));
}

TEST(Follow, WithoutEtcdAStandbyKeepsRunningAndAStoppedServerServesReads) {
  auto c = Case().follows();
  c.seen.dcs.reachable = false;
  EXPECT_TRUE(c.decide().actions.empty());
  c.stopped("in production");
  auto decision = c.decide();
  ASSERT_TRUE(find<StartServer>(decision));
  EXPECT_FALSE(find<StartServer>(decision)->as_primary);
}

// --- stopping ---

TEST(Stop, TheLeaderHandsOver) {
  auto c = Case();
  c.seen.stop_by = at(108s);
  ReplicationRow behind{"r", "pg2", "", "streaming", "async", 0, Lsn{900}};
  ReplicationRow ahead{"r", "pg3", "", "streaming", "async", 0, Lsn{1000}};
  c.seen.server.replication = {behind, ahead};
  auto decision = c.decide();
  ASSERT_TRUE(find<StopServer>(decision));
  EXPECT_TRUE(find<StopServer>(decision)->checkpoint_first);
  EXPECT_FALSE(find_txn(decision, TxnKind::release)) << "never before the server is down";

  c.state = decision.state;
  c.stopped("shut down");
  decision = c.decide();
  EXPECT_TRUE(find<Disarm>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::release));
  c.seen.guard.armed = {};
  decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::release);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::unchanged("leader", 100)});
  EXPECT_EQ(txn->operations[0], Operation::remove("leader"));
  EXPECT_NE(txn->operations[1].value.find("\"end\":900"), std::string::npos);
  EXPECT_NE(txn->operations[2].value.find("\"member\":\"pg3\""), std::string::npos);

  c.seen.txn_ends = {{TxnKind::release, true, false, true, 220, 0}};
  decision = c.decide();
  EXPECT_TRUE(find<DropLease>(decision));
  EXPECT_FALSE(find<Finish>(decision));
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.seen.lease = {};
  EXPECT_TRUE(find<Finish>(c.decide()));
}

TEST(Stop, AKilledServerIsNoCleanRelease) {
  auto c = Case().stopped("in production");
  c.seen.stop_by = at(108s);
  c.seen.guard.armed = {};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::release);
  ASSERT_TRUE(txn);
  EXPECT_NE(txn->operations[1].value.find("\"end\":0"), std::string::npos);
}

TEST(Stop, AReplicaJustStops) {
  auto c = Case().follows();
  c.seen.stop_by = at(108s);
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.stopped("shut down in recovery");
  c.seen.lease = {};
  auto decision = c.decide();
  EXPECT_TRUE(find<Finish>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::release));
}

TEST(Decide, IsAFunctionOfItsArguments) {
  auto c = Case().leaderless();
  auto one = c.decide();
  auto two = c.decide();
  EXPECT_EQ(one.reasons, two.reasons);
  EXPECT_EQ(one.next_wake, two.next_wake);
  EXPECT_EQ(one.actions.size(), two.actions.size());
}

}  // namespace
}  // namespace pgsteady::core::testing
