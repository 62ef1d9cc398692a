#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

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

TEST(Stop, OfThoseThatAreCloseTheOneWithTheHigherPriorityIsTheSuccessor) {
  auto c = Case();
  c.seen.stop_by = at(108s);
  c.seen.server.write_lsn = Lsn{5 << 20};
  ReplicationRow close{"r", "pg2", "", "streaming", "async", 0, Lsn{(5 << 20) - 100}};
  ReplicationRow closer{"r", "pg3", "", "streaming", "async", 0, Lsn{5 << 20}};
  c.seen.server.replication = {close, closer};
  EXPECT_EQ(c.decide().state.successor, "pg3");
  c.seen.dcs.cluster.members[1].tags.values = {{"failover_priority", 2}};
  EXPECT_EQ(c.decide().state.successor, "pg2");
  c.seen.server.replication[0].flush_lsn = Lsn{1 << 20};
  EXPECT_EQ(c.decide().state.successor, "pg3") << "the other one is far behind";
  c.seen.dcs.cluster.members[2].tags.values = {{"failover_priority", 0}};
  EXPECT_EQ(c.decide().state.successor, "pg2");
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

TEST(Stop, ALeaderThatWasNeverPromotedTellsNoEnd) {
  auto c = Case().stopped("shut down in recovery");
  c.seen.stop_by = at(108s);
  c.seen.guard.armed = {};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::release);
  ASSERT_TRUE(txn);
  EXPECT_NE(txn->operations[1].value.find("\"end\":0"), std::string::npos)
      << "its last checkpoint began long before the WAL that only it may have";
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

}  // namespace
}  // namespace pgsteady::core::testing
