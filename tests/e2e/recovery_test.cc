// Nodes that cannot go on with their own data: cloned anew.
#include <fstream>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;

class Recovery : public E2e {
 protected:
  void end(Node& node) {
    node.kill_everything();
    ASSERT_EQ(node.postmaster(), 0);
  }
  // The clones that the node has made of its own accord.
  int reclones(const Node& node) {
    std::ifstream in(node.data().string() + ".pgsteady/reclones");
    int count = 0;
    for (std::string line; std::getline(in, line);) ++count;
    return count;
  }
  void fill_with_wal(int segments) {
    for (int i = 0; i < segments; ++i) {
      ASSERT_TRUE(cluster().sql("select pg_logical_emit_message(false, 'x', repeat('x', 100))"));
      ASSERT_TRUE(cluster().sql("select pg_switch_wal()"));
    }
    ASSERT_TRUE(cluster().sql("checkpoint"));
  }
};

ClusterOptions two_nodes() {
  ClusterOptions options;
  options.nodes = 2;
  return options;
}

TEST_F(Recovery, AReplicaThatCannotStartIsClonedAnew) {
  run_cluster(two_nodes());
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  fs::remove_all(replica->data() / "pg_replslot");  // which no server starts without
  replica->start();
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 1);
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Recovery, AReplicaWithAnUnreadableControlFileIsClonedAnew) {
  run_cluster(two_nodes());
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  std::fstream control(replica->data() / "global/pg_control", std::ios::in | std::ios::out);
  control.seekp(40);
  control << "garbage";
  control.close();
  replica->start();
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 1);
  EXPECT_TRUE(fs::exists(replica->data().string() + ".pgsteady/diverged"))
      << "its WAL was not kept";
  expect_no_split();
}

TEST_F(Recovery, AWrongConfigurationIsNoReasonToClone) {
  run_cluster(two_nodes());
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  std::ofstream(replica->data() / "postgresql.base.conf", std::ios::app) << "work_mem = many\n";
  replica->start();
  EXPECT_TRUE(eventually(kLong, [&] {
    return tail(replica->log(), 200).find("cannot read its configuration") != std::string::npos;
  }));
  EXPECT_EQ(reclones(*replica), 0);
  std::ofstream(replica->data() / "postgresql.base.conf", std::ios::trunc) << "\n";
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 0);
  expect_no_split();
}

TEST_F(Recovery, AReplicaWhoseWalIsGoneFromTheLeaderIsClonedAnew) {
  auto options = two_nodes();
  run_cluster(options);
  Node& primary = leader();
  ASSERT_TRUE(cluster().sql("alter system set max_slot_wal_keep_size = '16MB'"));
  ASSERT_TRUE(cluster().sql("alter system set wal_keep_size = 0"));
  ASSERT_TRUE(cluster().sql("select pg_reload_conf()"));
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  fill_with_wal(6);
  const pid_t server = primary.postmaster();
  replica->start();
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 1);
  expect_undisturbed(primary, server);
  // The slot that lost its WAL was made anew.
  EXPECT_TRUE(eventually(kLong, [&] {
    auto rows = cluster().sql("select count(*) from pg_replication_slots where active");
    return rows && rows->at(0).at(0) == "1";
  }));
  expect_nothing_lost();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
