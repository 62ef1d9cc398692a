// maximum_lag_on_failover and check_timeline: how far behind a node may be that takes over.
#include <csignal>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

class Lag : public E2e {
 protected:
  void run_two() {
    ClusterOptions options;
    options.nodes = 2;
    run_cluster(options);
    old_ = &leader();
    replica_ = cluster().a_replica();
    ASSERT_TRUE(replica_);
  }
  // The leader writes 4 MB that its replica does not get, says so in etcd, and is gone.
  void leave_the_replica_behind() {
    writer().stop();
    auto rows = ask(replica_->superuser(), "select pid from pg_stat_wal_receiver");
    ASSERT_TRUE(rows && rows->size() == 1);
    const pid_t receiver = std::stoi(rows->at(0).at(0));
    kill_pids({receiver}, SIGSTOP);
    ASSERT_TRUE(
        cluster().sql("create table big as select i, repeat('x', 200) "
                      "from generate_series(1, 20000) i"));
    let_pass(Millis(2500));  // its status key is written once a second
    old_->kill_everything();
    kill_pids({receiver}, SIGKILL);
  }

  Node* old_ = nullptr;
  Node* replica_ = nullptr;
};

TEST_F(Lag, WhoIsTooFarBehindWaitsForTheLeaderToComeBack) {
  run_two();
  leave_the_replica_behind();
  EXPECT_FALSE(cluster().wait_primary(Millis(12000), old_)) << "4 MB would be lost";
  EXPECT_NE(tail(replica_->log(), 200).find("maximum_lag_on_failover is 1048576"),
            std::string::npos);
  old_->start();
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  auto rows = ask(replica_->superuser(), "select count(*) from big");
  EXPECT_TRUE(rows && rows->at(0).at(0) == "20000");
  expect_no_split();
}

// As after a loss of power, or a restore under the keys of before: nobody can reach the position,
// and everybody says so.
TEST_F(Lag, APositionThatNobodyHasReachedBlocksNobody) {
  run_two();
  writer().stop();
  old_->kill_everything();
  replica_->kill_everything();
  etcd().put(cluster().key("status"), R"({"optime":1099511627776})");
  replica_->start();
  EXPECT_FALSE(cluster().wait_primary(Millis(12000))) << "the other one may have it";
  old_->start();
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  expect_no_split();
}

// check_timeline: who was away when the cluster went on to another timeline does not lead alone,
// however little it lacks.
TEST_F(Lag, WithCheckTimelineANodeOfAnOlderTimelineWaits) {
  ClusterOptions options;
  options.dcs.push_back("check_timeline: true");
  run_cluster(options);
  writer().stop();
  Node& first = leader();
  Node* away = cluster().a_replica();
  ASSERT_TRUE(away);
  away->kill_everything();
  first.kill_everything();
  Node* second = cluster().wait_primary(kLong, &first);
  ASSERT_TRUE(second);
  ASSERT_TRUE(
      eventually(kLong, [&] { return etcd().get(cluster().key("history")).starts_with("[[1,"); }));
  second->kill_everything();
  away->start();
  EXPECT_FALSE(cluster().wait_primary(Millis(12000))) << "it is on the timeline before";
  EXPECT_NE(tail(away->log(), 200).find("my timeline 1 is behind the cluster's 2"),
            std::string::npos);
  second->start();
  EXPECT_TRUE(cluster().wait_primary(kLong));
  first.start();
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
