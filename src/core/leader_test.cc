#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

TEST(Leader, PromotesToTheTimelineThatItReservedWithTheLock) {
  auto c = Case().leads().running_standby();
  c.seen.dcs.cluster.reserved_timeline = c.state.reserved_timeline = 4;
  auto decision = c.decide();
  ASSERT_TRUE(find<Promote>(decision));
  EXPECT_EQ(find<Promote>(decision)->newest, 3u);
}

// The lock was taken by the agent before, or in a transaction whose answer was lost.
TEST(Leader, ReservesATimelineBeforeItPromotes) {
  auto c = Case().leads().running_standby();
  c.state.reserved_timeline = 0;
  c.seen.dcs.cluster.reserved_timeline = 4;
  c.seen.dcs.cluster.reserved_revision = 88;
  auto decision = c.decide();
  EXPECT_FALSE(find<Promote>(decision));
  const auto* txn = find_txn(decision, TxnKind::reserve);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, (std::vector<Compare>{Compare::unchanged("leader", kEpoch.mod_revision),
                                                 Compare::unchanged("timeline", 88)}));
  EXPECT_EQ(txn->operations, std::vector<Operation>{Operation::put("timeline", "5")});
  c.state = decision.state;
  c.seen.txn_ends = {{TxnKind::reserve, true, false, true, 150, kLease}};
  decision = c.decide();
  ASSERT_TRUE(find<Promote>(decision));
  EXPECT_EQ(find<Promote>(decision)->newest, 4u);
}

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
  c.seen.dcs.cluster.status = ClusterStatus{Lsn{1000}, {}};
  c.seen.dcs.cluster.status_revision = 150;
  c.now.boot += 2s;
  c.seen.guard.deadline = c.now.boot + 3s;
  auto second = c.decide();
  EXPECT_FALSE(find_txn(second, TxnKind::status));
  EXPECT_FALSE(find_txn(second, TxnKind::member));
}

// A lock taken up again, after a promotion that used up what was reserved.
TEST(Leader, ReservesATimelineForEachPromotion) {
  auto c = Case().leads().running_standby();
  c.seen.server.timeline = c.state.reserved_timeline = 2;
  auto decision = c.decide();
  EXPECT_FALSE(find<Promote>(decision));
  EXPECT_TRUE(find_txn(decision, TxnKind::reserve));
  c.seen.job_ends = {{JobKind::promote, true, false, "promoted"}};
  EXPECT_EQ(c.decide().state.reserved_timeline, 0u);
}

// A node that was away while timeline 2 came and went must not make another timeline 2.
TEST(Leader, ReservesATimelineThatNobodyHasYet) {
  auto c = Case().running_standby();
  c.state.reserved_timeline = 0;
  c.seen.dcs.cluster.history = {{1, Lsn{900}, "", "", ""}};
  auto reserved = [&] { return find_txn(c.decide(), TxnKind::reserve)->operations[0].value; };
  EXPECT_EQ(reserved(), "3");
  c.seen.dcs.cluster.members[1].timeline = 4;
  EXPECT_EQ(reserved(), "5");
}

TEST(Leader, TheHistoryNamesTheTimelinesThatWerePassedOver) {
  auto c = Case();
  c.seen.dcs.cluster.history = {{1, Lsn{500}, "", "", ""}};
  c.seen.server.timeline = 4;
  c.seen.server.history = {{1, Lsn{500}, "no recovery target specified", "", ""}};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::history);
  ASSERT_TRUE(txn);
  const auto& value = txn->operations[0].value;
  EXPECT_NE(value.find("[2,500,"), std::string::npos) << value;
  EXPECT_NE(value.find("[3,500,"), std::string::npos) << value;
}

TEST(Leader, WritesItsPositionOverThatOfALeaderBefore) {
  auto c = Case();
  c.state = c.decide().state;
  c.seen.dcs.cluster.status = ClusterStatus{Lsn{1000}, {}};
  c.seen.dcs.cluster.status_revision = 99;
  c.now.boot += 2s;
  c.seen.guard.deadline = c.now.boot + 3s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::status));
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
  c.seen.server.control = ControlFile{};
  c.seen.server.control->timeline = 1;
  EXPECT_TRUE(find<Checkpoint>(c.decide()));
  c.seen.server.control->timeline = 2;
  EXPECT_FALSE(find<Checkpoint>(c.decide())) << "it was made under the agent before";
}

TEST(Leader, AConfigKeyThatIsGoneIsPutBack) {
  Case c;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::config));
  auto& cluster = c.seen.dcs.cluster;
  cluster.config_kept = true;
  cluster.config_revision = 0;
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::config);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares.back(), Compare::unchanged("config", 0)) << "not over one put meanwhile";
  EXPECT_EQ(txn->operations, std::vector{Operation::put("config", R"({"ttl":5})")});
  EXPECT_FALSE(find<Reconfigure>(decision));
  auto off = c;
  off.seen.dcs.cluster.sync = SyncState{"pg1", {"pg2"}, 0};
  EXPECT_FALSE(find_txn(off.decide(), TxnKind::config)) << "it was switched on since";
  EXPECT_FALSE(find_txn(off.decide(), TxnKind::sync)) << "nor is the key's promise taken back";
  auto asked = c;
  asked.state.changing_config = 9;
  EXPECT_FALSE(find_txn(asked.decide(), TxnKind::config)) << "somebody changes it";
  auto follower = c;
  follower.follows();
  decision = follower.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::config));
  auto patient = follower;
  patient.state = decision.state;
  patient.later(6s);
  EXPECT_TRUE(find_txn(patient.decide(), TxnKind::config)) << "its leader does not know it";
  // In a pause that nobody could end otherwise.
  follower.leaderless();
  follower.seen.dcs.cluster.config->pause = true;
  EXPECT_TRUE(find_txn(follower.decide(), TxnKind::config));
  cluster.config.reset();
  cluster.config_kept = false;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::config)) << "an agent that never read it";
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
  EXPECT_FALSE(find<GrantLease>(c.decide())) << "not again at once";
  c.later(1s);
  c.seen.lease.held_until = c.seen.guard.deadline = c.now.boot + 3s;
  EXPECT_TRUE(find<GrantLease>(c.decide())) << "a grant that failed is asked for again";
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

// A node that led, followed and leads again, all within a minute: it dropped its slots meanwhile.
TEST(Leader, MakesTheSlotsAnewAfterItHasFollowed) {
  auto c = Case().leads();
  auto decision = c.decide();
  ASSERT_TRUE(find<SyncSlots>(decision));
  c.state = decision.state;
  c.now.boot += 500ms;
  EXPECT_FALSE(find<SyncSlots>(c.decide()));
  c.follows();
  c.state.old_slots_dropped = false;
  decision = c.decide();
  ASSERT_TRUE(find<SyncSlots>(decision));
  EXPECT_TRUE(find<SyncSlots>(decision)->members.empty());
  c.state = decision.state;
  c.now.boot += 500ms;
  decision = c.leads().decide();
  ASSERT_TRUE(find<SyncSlots>(decision));
  EXPECT_EQ(find<SyncSlots>(decision)->members, (std::vector<MemberName>{"pg2", "pg3"}));
  EXPECT_FALSE(find<SyncSlots>(decision)->drop) << "a new agent does not know who is away";
}

}  // namespace
}  // namespace pgsteady::core::testing
