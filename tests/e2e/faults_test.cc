// Processes die, freeze or are asked to end. A client writes throughout, a watcher looks for a
// second writable node.
#include <algorithm>
#include <csignal>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

class Faults : public E2e {};

TEST_F(Faults, APostmasterThatDiesIsRestartedInPlace) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  kill_pids({server}, SIGKILL);
  EXPECT_TRUE(eventually(
      kLong, [&] { return primary.postmaster() != 0 && primary.postmaster() != server; }));
  expect_recovered();
  EXPECT_EQ(cluster().primary(), &primary);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Faults, AnAgentThatDiesIsRestartedAndNobodyNotices) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster(), agent = primary.agent();
  ASSERT_NE(agent, 0);
  kill_pids({agent}, SIGKILL);
  EXPECT_TRUE(eventually(kLong, [&] { return primary.agent() != 0 && primary.agent() != agent; }));
  let_pass(Millis(12000));  // twice the lease, and more
  expect_undisturbed(primary, server);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Faults, AnAgentThatFreezesLeavesNoSecondPrimary) {
  run_cluster();
  Node& primary = leader();
  const pid_t agent = primary.agent();
  ASSERT_NE(agent, 0);
  kill_pids({agent}, SIGSTOP);
  // Either its guardian has replaced it in time, or another node leads.
  EXPECT_TRUE(eventually(kLong, [&] { return primary.agent() != agent; }));
  let_pass(Millis(12000));
  expect_recovered();
  if (cluster().primary() == &primary) expect_nothing_lost();
  expect_no_split();
}

TEST_F(Faults, TheServerDiesWithItsGuardian) {
  run_cluster();
  Node& primary = leader();
  auto everything = primary.everything();
  kill_pids({primary.guardian(), primary.agent()}, SIGKILL);
  EXPECT_TRUE(
      eventually(kLong, [&] { return std::none_of(everything.begin(), everything.end(), alive); }));
  EXPECT_TRUE(cluster().wait_primary(kLong, &primary));
  expect_recovered();
  primary.start();
  expect_recovered();
  EXPECT_EQ(primary.role(), "standby");
  expect_no_split();
}

TEST_F(Faults, ALostNodeIsReplacedAndComesBackAsAReplica) {
  run_cluster();
  Node& primary = leader();
  primary.kill_everything();
  EXPECT_TRUE(cluster().wait_primary(kLong, &primary));
  EXPECT_TRUE(eventually(kLong, [&] {
    return etcd().get(cluster().key("members/" + primary.name)).empty();
  })) << "the member key outlives the node";
  expect_recovered();
  primary.start();
  expect_recovered();
  EXPECT_EQ(primary.role(), "standby");
  expect_no_split();
}

TEST_F(Faults, SigtermHandsOverWithoutALoss) {
  run_cluster();
  Node& primary = leader();
  auto status = primary.stop();
  ASSERT_TRUE(status) << "it still runs";
  EXPECT_EQ(*status, 0);
  EXPECT_TRUE(cluster().wait_primary(kLong, &primary));
  expect_recovered();
  primary.start();
  expect_recovered();
  EXPECT_EQ(primary.role(), "standby");
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Faults, AReplicaComesAndGoesUnnoticed) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  replica->kill_everything();
  EXPECT_TRUE(writer().wait_acks(200, kLong));
  replica->start();
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Faults, AllNodesStoppedAndStarted) {
  run_cluster();
  for (auto& node : cluster().nodes()) node->process().signal(SIGTERM);
  for (auto& node : cluster().nodes()) {
    auto status = node->process().wait(kLong);
    ASSERT_TRUE(status) << node->name << " still runs";
    EXPECT_EQ(*status, 0) << node->name;
  }
  cluster().start_all();
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// What the primary wrote last is on its disk only: whoever is up first waits for it.
TEST_F(Faults, AllNodesStoppedAndTheOldPrimaryStartedLast) {
  run_cluster();
  Node& old = leader();
  for (auto& node : cluster().nodes()) {
    if (node.get() != &old) node->process().signal(SIGTERM);
  }
  std::this_thread::sleep_for(Millis(100));
  old.process().signal(SIGTERM);
  for (auto& node : cluster().nodes()) ASSERT_TRUE(node->process().wait(kLong)) << node->name;
  for (auto& node : cluster().nodes()) {
    if (node.get() != &old) node->start();
  }
  std::this_thread::sleep_for(Millis(2000));
  old.start();
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Faults, AllNodesLostAndStarted) {
  run_cluster();
  for (auto& node : cluster().nodes()) node->kill_everything();
  cluster().start_all();
  expect_recovered();
  expect_no_split();
}

TEST_F(Faults, AnOldPrimaryWithDivergedHistoryRejoins) {
  run_cluster();
  ASSERT_TRUE(cluster().sql("create table marks (what text)"));
  ASSERT_TRUE(cluster().sql("insert into marks values ('kept')"));
  writer().stop();
  Node& primary = leader();
  for (auto& node : cluster().nodes()) {
    EXPECT_TRUE(eventually(kLong, [&] {
      auto rows = ask(node->superuser(), "select count(*) from marks");
      return rows && rows->at(0).at(0) == "1";
    }));
  }
  ASSERT_TRUE(cluster().diverge(primary, "insert into marks values ('diverged')"));
  ASSERT_TRUE(cluster().wait_primary(kLong, &primary));
  ASSERT_TRUE(cluster().sql("insert into marks values ('after')"));
  primary.start();
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  EXPECT_EQ(primary.role(), "standby");
  EXPECT_TRUE(eventually(kLong, [&] {
    auto rows = ask(primary.superuser(), "select string_agg(what, ' ' order by what) from marks");
    return rows && rows->at(0).at(0) == "after kept";
  }));
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
