#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

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

TEST(Bootstrap, WhoMayNotLeadMakesNoCluster) {
  auto c = empty_node();
  c.seen.guard.watchdog_failed = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::claim_initialize));
  c.seen.guard.watchdog_failed = false;
  c.self.tags.values = {{"failover_priority", 0}};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::claim_initialize));
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
  c.later(11s);
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::claim_initialize));
}

TEST(Bootstrap, AnInitializeKeyThatNobodyHoldsIsRemoved) {
  auto c = empty_node();
  c.seen.dcs.cluster.initialize = "";
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::cancel_initialize));
  c.state = decision.state;
  c.later(31s);
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

}  // namespace
}  // namespace pgsteady::core::testing
