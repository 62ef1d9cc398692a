// etcd is gone, and the members are all there: the leader lives on their promises. One of them is
// missing: it does not.
#include <csignal>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr Millis kBeyondTheLease{12000};

class Failsafe : public E2e {
 protected:
  // The leader has listed all nodes: from then on it can do without etcd.
  void run_until_listed(ClusterOptions options = {}) {
    run_cluster(std::move(options));
    EXPECT_TRUE(eventually(kLong, [&] {
      auto list = etcd().get(cluster().key("failsafe"));
      return std::all_of(cluster().nodes().begin(), cluster().nodes().end(), [&](auto& node) {
        return list.find("\"" + node->name + "\"") != std::string::npos;
      });
    }));
    let_pass(Millis(1500));
  }
  void expect_fenced(const Node& node, pid_t postmaster) {
    EXPECT_TRUE(eventually(kLong, [&] { return !alive(postmaster); }));
    EXPECT_NE(node.role(), "primary");
  }
};

TEST_F(Failsafe, AMinuteWithoutEtcdDisturbsNobody) {
  run_until_listed();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  etcd().stop(0);
  let_pass(Millis(30000));
  EXPECT_EQ(primary.rest("/primary")->status, 200);
  for (auto& node : cluster().nodes()) {
    EXPECT_THAT(node->rest("/patroni")->body, HasSubstr("\"failsafe_mode_is_active\":true"));
  }
  let_pass(Millis(30000));
  expect_undisturbed(primary, server);
  etcd().start(0);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  let_pass(kBeyondTheLease);
  expect_undisturbed(primary, server);
  EXPECT_THAT(primary.rest("/patroni")->body, Not(HasSubstr("failsafe_mode_is_active")));
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// Stopped by a signal, so that its clock goes on: when it is back all leases are over.
TEST_F(Failsafe, ALeaderWhoseLeaseEndedLeadsOnWithoutARestart) {
  run_until_listed();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  for (int round = 0; round < 2; ++round) {
    etcd().freeze(0);
    let_pass(kBeyondTheLease);
    etcd().thaw(0);
    let_pass(kBeyondTheLease);
    expect_undisturbed(primary, server);
    EXPECT_EQ(etcd().get(cluster().key("leader")), primary.name);
  }
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Failsafe, AMemberThatDoesNotAnswerGetsThePrimaryFenced) {
  run_until_listed();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  const std::vector<pid_t> silent = {replica->guardian(), replica->agent()};
  etcd().stop(0);
  kill_pids(silent, SIGSTOP);
  expect_fenced(primary, server);
  etcd().start(0);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  kill_pids(silent, SIGCONT);
  expect_recovered();
  expect_no_split();
}

TEST_F(Failsafe, SwitchedOffThePrimaryIsFenced) {
  ClusterOptions options;
  options.dcs.push_back("failsafe_mode: false");
  run_cluster(options);
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  EXPECT_EQ(etcd().get(cluster().key("failsafe")), "");
  EXPECT_EQ(primary.rest("/failsafe")->status, 502);
  etcd().stop(0);
  expect_fenced(primary, server);
  etcd().start(0);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  expect_recovered();
  expect_no_split();
}

TEST_F(Failsafe, AgentsThatDieWithoutEtcdDisturbNobody) {
  run_until_listed();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  etcd().stop(0);
  let_pass(kBeyondTheLease);
  for (auto& node : cluster().nodes()) {
    const pid_t agent = node->agent();
    kill_pids({agent}, SIGKILL);
    EXPECT_TRUE(eventually(kLong, [&] { return node->agent() != 0 && node->agent() != agent; }));
    let_pass(kBeyondTheLease);
  }
  expect_undisturbed(primary, server);
  etcd().start(0);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

// By an agent that has never seen etcd: it waits for the same standbys, with the same settings.
TEST_F(Failsafe, AServerStartedWithoutEtcdIsConfiguredAsBefore) {
  ClusterOptions options;
  options.dcs.push_back("synchronous_mode: true");
  run_until_listed(std::move(options));
  Node& primary = leader();
  EXPECT_THAT(
      primary.rest("PATCH", "/config", R"({"postgresql":{"parameters":{"work_mem":"7MB"}}})"),
      HasSubstr("200 "));
  const auto settings = [&] {
    return ask(primary.superuser(),
               "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN "
               "('synchronous_standby_names', 'work_mem')")
        .value_or(SqlClient::Rows{{""}})[0][0];
  };
  ASSERT_TRUE(eventually(kLong, [&] {
    const auto now = settings();
    return now.find("pg") != std::string::npos && now.find(" 7168") != std::string::npos;
  }));
  const auto before = settings();
  etcd().stop(0);
  const pid_t agent = primary.agent();
  const pid_t server = primary.postmaster();
  kill_pids({agent}, SIGKILL);
  ASSERT_TRUE(eventually(kLong, [&] { return primary.agent() != 0 && primary.agent() != agent; }));
  kill_pids({server}, SIGKILL);
  ASSERT_TRUE(eventually(kLong, [&] { return primary.role() == "primary"; }));
  EXPECT_NE(primary.postmaster(), server);
  EXPECT_EQ(settings(), before);
  etcd().start(0);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Failsafe, ALeaderLostWithoutEtcdIsReplacedWhenEtcdIsBack) {
  run_until_listed();
  Node& primary = leader();
  etcd().freeze(0);
  let_pass(kBeyondTheLease);
  primary.kill_everything();
  etcd().thaw(0);
  EXPECT_TRUE(cluster().wait_primary(kLong, &primary));
  expect_recovered();
  primary.start();
  expect_recovered();
  EXPECT_EQ(primary.role(), "standby");
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
