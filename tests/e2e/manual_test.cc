// What operators ask for by hand, under a client that writes and a watcher for a second writable
// node.
#include <csignal>

#include "base/clock.h"
#include "fixture.h"

namespace pgsteady::testing {
namespace {

using ::testing::StartsWith;

class Manual : public E2e {
 protected:
  Node& replica() {
    Node* node = cluster().a_replica();
    if (!node) throw std::runtime_error("no replica");
    return *node;
  }
  Node& other_replica(const Node& than) {
    for (auto& node : cluster().nodes()) {
      if (node.get() != &than && node->role() == "standby") return *node;
    }
    throw std::runtime_error("no other replica");
  }
  static std::string from_to(const Node& from, const Node& to) {
    return R"({"leader":")" + from.name + R"(","candidate":")" + to.name + R"("})";
  }
  std::string failover_key() { return etcd().get(cluster().key("failover")); }
  void expect_handed_over(const Node& old, const Node& to, Clock::time_point from) {
    EXPECT_EQ(cluster().wait_primary(kLong, &old), &to);
    expect_recovered();
    EXPECT_EQ(old.role(), "standby") << "it comes back by itself";
    EXPECT_TRUE(eventually(kLong, [&] { return failover_key() == "{}"; }));
    RecordProperty("outage_ms", std::to_string(writer().outage_since(from).count()));
    expect_nothing_lost();
    expect_no_split();
  }
};

TEST_F(Manual, SwitchoverToACandidate) {
  run_cluster();
  Node& old = leader();
  Node& to = replica();
  const auto from = Clock::now();
  EXPECT_EQ(old.rest("POST", "/switchover", from_to(old, to)),
            "200 Successfully switched over to \"" + to.name + "\"");
  expect_handed_over(old, to, from);
}

TEST_F(Manual, SwitchoverToTheBestAskedOfAReplica) {
  run_cluster();
  Node& old = leader();
  const auto from = Clock::now();
  auto answer = replica().rest("POST", "/failover", R"({"leader":")" + old.name + R"("})");
  EXPECT_THAT(answer, StartsWith("200 Successfully switched over to"));
  Node* to = cluster().wait_primary(kLong, &old);
  ASSERT_TRUE(to);
  expect_handed_over(old, *to, from);
}

// As patronictl does when no node answers.
TEST_F(Manual, AFailoverKeyThatSomebodyElseWroteIsHonoured) {
  run_cluster();
  Node& old = leader();
  Node& to = replica();
  const auto from = Clock::now();
  etcd().put(cluster().key("failover"),
             R"({"leader":")" + old.name + R"(","member":")" + to.name + R"("})");
  expect_handed_over(old, to, from);
}

TEST_F(Manual, ScheduledSwitchover) {
  run_cluster();
  Node& old = leader();
  Node& to = replica();
  auto body = [&](std::chrono::seconds in) {
    auto when = std::chrono::system_clock::now() + in;
    return R"({"leader":")" + old.name + R"(","candidate":")" + to.name + R"(","scheduled_at":")" +
           iso_time(when) + "\"}";
  };
  EXPECT_EQ(old.rest("POST", "/switchover", body(std::chrono::seconds(3600))),
            "202 Switchover scheduled");
  EXPECT_TRUE(eventually(kLong, [&] {
    auto shown = old.rest("/cluster");
    return shown && shown->body.find("scheduled_switchover") != std::string::npos;
  }));
  EXPECT_EQ(old.rest("DELETE", "/switchover"), "200 scheduled switchover deleted");
  EXPECT_EQ(old.rest("DELETE", "/switchover"), "404 no switchover is scheduled");
  EXPECT_THAT(old.rest("POST", "/switchover", body(std::chrono::seconds(-10))), StartsWith("422 "));

  const auto from = Clock::now();
  EXPECT_EQ(old.rest("POST", "/switchover", body(std::chrono::seconds(4))),
            "202 Switchover scheduled");
  ASSERT_EQ(cluster().wait_primary(kLong, &old), &to);
  auto took = Clock::now() - from;
  EXPECT_GE(took, std::chrono::seconds(4));
  expect_handed_over(old, to, from);
}

TEST_F(Manual, ACandidateThatIsNotFitIsRefusedWithTheReason) {
  run_cluster();
  Node& primary = leader();
  Node& gone = replica();
  const pid_t server = primary.postmaster();
  gone.kill_everything();
  EXPECT_THAT(primary.rest("POST", "/switchover", from_to(primary, gone)),
              StartsWith("412 switchover is not possible: no good candidates have been found (" +
                         gone.name + " is not reachable"));
  EXPECT_EQ(primary.rest("POST", "/switchover", R"({"leader":"nobody"})"),
            "412 leader name does not match");
  EXPECT_THAT(primary.rest("POST", "/switchover", "{"), StartsWith("400 bad request"));
  etcd().put(cluster().key("failover"), R"({"member":")" + gone.name + R"("})");
  EXPECT_TRUE(eventually(kLong, [&] { return failover_key() == "{}"; })) << "refused by the leader";
  EXPECT_TRUE(writer().wait_acks(100, kLong));
  expect_undisturbed(primary, server);
  gone.start();
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Manual, WithTheLeaderDeadTheCandidateIsPreferred) {
  run_cluster();
  Node& old = leader();
  writer().stop();  // so that both replicas are equally far
  watcher_->stop();
  Node& to = replica();
  Node& other = other_replica(to);
  EXPECT_TRUE(eventually(kLong, [&] {
    auto position = "select pg_last_wal_receive_lsn()";
    return ask(to.superuser(), position) == ask(other.superuser(), position);
  }));
  old.kill_everything();
  EXPECT_EQ(other.rest("POST", "/failover", R"({"candidate":")" + to.name + R"("})"),
            "200 Successfully failed over to \"" + to.name + "\"");
  EXPECT_EQ(cluster().wait_primary(kLong, &old), &to);
  old.start();
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  EXPECT_EQ(old.role(), "standby");
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
