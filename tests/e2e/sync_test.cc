// Synchronous modes: whoever is lost, nothing that was acknowledged is.
#include "fixture.h"

namespace pgsteady::testing {
namespace {

using ::testing::HasSubstr;

class Sync : public E2e {
 protected:
  void run_with(const std::string& mode, const std::vector<std::string>& more = {}) {
    ClusterOptions options;
    options.dcs.push_back("synchronous_mode: " + mode);
    options.dcs.insert(options.dcs.end(), more.begin(), more.end());
    run_cluster(std::move(options));
  }
  std::string sync_key() { return etcd().get(cluster().key("sync")); }
  // The key names the leader and somebody who may follow it.
  bool wait_named() {
    return eventually(kLong, [&] {
      Node* primary = cluster().primary();
      auto key = sync_key();
      return primary && key.find("\"leader\":\"" + primary->name + "\"") != std::string::npos &&
             key.find("\"sync_standby\":\"") != std::string::npos;
    });
  }
  // The primary is lost again and again, at moments that hit each step of naming a new standby.
  void lose_primaries(int rounds) {
    for (int round = 0; round < rounds; ++round) {
      if (round % 2 == 0) {
        ASSERT_TRUE(wait_named());
      }
      ASSERT_TRUE(writer().wait_acks(20, kLong));
      Node& primary = leader();
      primary.kill_everything();
      if (round % 2 == 1) primary.start();
      ASSERT_TRUE(cluster().wait_primary(kLong));
      if (round % 2 == 0) primary.start();
      expect_recovered();
    }
    expect_nothing_lost();
    expect_no_split();
  }
};

TEST_F(Sync, ALostPrimaryTakesNothingAcknowledgedAlong) {
  run_with("true");
  ASSERT_TRUE(wait_named());
  EXPECT_EQ(cluster().sql("show synchronous_standby_names")->at(0).at(0).substr(0, 3), "1 (");
  auto members = leader().rest("/cluster");
  ASSERT_TRUE(members);
  EXPECT_THAT(members->body, HasSubstr("\"sync_standby\""));
  lose_primaries(4);
}

TEST_F(Sync, NorInQuorumMode) {
  run_with("quorum");
  ASSERT_TRUE(wait_named());
  EXPECT_THAT(cluster().sql("show synchronous_standby_names")->at(0).at(0), HasSubstr("ANY 1 ("));
  EXPECT_THAT(sync_key(), HasSubstr("\"quorum\":1"));
  lose_primaries(4);
}

TEST_F(Sync, ALostStandbyIsReplacedAndWritesGoOn) {
  run_with("true");
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(wait_named());
    auto key = sync_key();
    for (auto& node : cluster().nodes()) {
      if (key.find("\"sync_standby\":\"" + node->name + "\"") == std::string::npos) continue;
      node->kill_everything();
      EXPECT_TRUE(eventually(kLong, [&] { return sync_key() != key && wait_named(); }));
      EXPECT_TRUE(writer().wait_acks(50, kLong));
      node->start();
      break;
    }
    expect_recovered();
  }
  expect_nothing_lost();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
