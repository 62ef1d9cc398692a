#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

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
  EXPECT_TRUE(find<DropLease>(decision));
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

}  // namespace
}  // namespace pgsteady::core::testing
