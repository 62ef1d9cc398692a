// A pause, and what may be asked for in it and out of it: restart, reinitialize.
#include <csignal>
#include <future>

#include "base/clock.h"
#include "fixture.h"

namespace pgsteady::testing {
namespace {

using ::testing::HasSubstr;

class Pause : public E2e {
 protected:
  void pause() { set(R"({"pause":true})", true); }
  void resume() { set(R"({"pause":null})", false); }
  // Until every member says so, and the primary's fence is off.
  void set(const std::string& patch, bool paused) {
    EXPECT_TRUE(eventually(kLong, [&] {
      for (auto& node : cluster().nodes()) {
        if (node->rest("PATCH", "/config", patch).starts_with("200 {")) return true;
      }
      return false;
    }));
    EXPECT_TRUE(eventually(kLong, [&] {
      for (auto& node : cluster().nodes()) {
        auto value = etcd().get(cluster().key("members/" + node->name));
        if ((value.find("\"pause\":true") != std::string::npos) != paused) return false;
      }
      return true;
    }));
  }
  bool unfenced(const Node& node) {
    return !etcd().get(cluster().key("unfenced/" + node.name)).empty();
  }
  void expect_nothing_happens(const Node& primary, pid_t server) {
    let_pass(Millis(12000));
    EXPECT_EQ(primary.postmaster(), server);
    EXPECT_EQ(primary.role(), "primary");
    EXPECT_EQ(cluster().primary(), &primary) << "nobody else was promoted";
  }
};

TEST_F(Pause, APrimaryOutlivesItsAgentAndEtcd) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  pause();
  EXPECT_TRUE(eventually(kLong, [&] { return unfenced(primary); }));
  let_pass(Millis(1000));
  const pid_t agent = primary.agent();
  kill_pids({agent}, SIGKILL);
  EXPECT_TRUE(eventually(kLong, [&] { return primary.agent() != 0 && primary.agent() != agent; }));
  etcd().freeze(0);
  expect_nothing_happens(primary, server);
  etcd().thaw(0);
  EXPECT_TRUE(writer().wait_acks(100, kLong));
  resume();
  EXPECT_TRUE(eventually(kLong, [&] { return !unfenced(primary); }));
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Pause, ADeadServerStaysDownUntilItIsResumed) {
  run_cluster();
  Node& primary = leader();
  pause();
  kill_pids({primary.postmaster()}, SIGKILL);
  let_pass(Millis(8000));
  EXPECT_EQ(primary.postmaster(), 0);
  EXPECT_EQ(cluster().primary(), nullptr) << "nobody takes over";
  resume();
  expect_recovered();
  expect_no_split();
}

TEST_F(Pause, SwitchoverAndRestartWork) {
  run_cluster();
  Node& old = leader();
  Node* to = cluster().a_replica();
  ASSERT_TRUE(to);
  pause();
  auto pair = R"({"leader":")" + old.name + R"(","candidate":")" + to->name + R"("})";
  EXPECT_EQ(old.rest("POST", "/switchover", pair),
            "200 Successfully switched over to \"" + to->name + "\"");
  expect_recovered();
  EXPECT_EQ(old.role(), "standby");
  const pid_t before = to->postmaster();
  EXPECT_EQ(to->rest("POST", "/restart", "{}"), "200 restarted successfully");
  EXPECT_NE(to->postmaster(), before);
  resume();
  expect_recovered();
  EXPECT_EQ(cluster().primary(), to);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Pause, TheEndOfTheUnitEndsTheServer) {
  run_cluster();
  Node& primary = leader();
  pause();
  auto status = primary.stop();
  ASSERT_TRUE(status) << "it still runs";
  EXPECT_EQ(*status, 0);
  EXPECT_EQ(primary.postmaster(), 0);
  let_pass(Millis(7000));
  EXPECT_EQ(cluster().primary(), nullptr) << "nobody takes over";
  EXPECT_FALSE(unfenced(primary));
  primary.start();
  resume();
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

class Maintenance : public Pause {};

TEST_F(Maintenance, RestartOfThePrimaryAndOfAReplica) {
  run_cluster();
  Node& primary = leader();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  for (Node* node : {&primary, replica}) {
    const pid_t before = node->postmaster();
    EXPECT_EQ(node->rest("POST", "/restart", R"({"restart_pending":true})"),
              "503 restart conditions are not satisfied");
    EXPECT_EQ(node->rest("POST", "/restart", "{}"), "200 restarted successfully");
    EXPECT_NE(node->postmaster(), before);
  }
  expect_recovered();
  EXPECT_EQ(cluster().primary(), &primary);
  expect_nothing_lost();
  expect_no_split();
}

// A parameter that must not be lower on a standby than on its primary.
TEST_F(Maintenance, ARestartIsMadeWhereOneIsPending) {
  run_cluster();
  Node& primary = leader();
  EXPECT_THAT(
      primary.rest("PATCH", "/config", R"({"postgresql":{"parameters":{"max_connections":120}}})"),
      HasSubstr("200 "));
  auto pending = [](Node& node) {
    auto shown = node.rest("/patroni");
    return shown && shown->body.find("\"pending_restart\":true") != std::string::npos;
  };
  const std::string if_pending = R"({"restart_pending":true})";
  auto restart = [&](Node& node) {
    EXPECT_TRUE(eventually(kLong, [&] { return pending(node); })) << node.name;
    EXPECT_EQ(node.rest("POST", "/restart", if_pending), "200 restarted successfully");
    EXPECT_TRUE(eventually(kLong, [&] { return !pending(node); })) << node.name;
  };
  for (auto& node : cluster().nodes()) {
    if (node.get() != &primary) restart(*node);
  }
  restart(primary);
  EXPECT_EQ(primary.rest("POST", "/restart", if_pending),
            "503 restart conditions are not satisfied");
  expect_recovered();
  EXPECT_EQ(cluster().primary(), &primary);
  EXPECT_EQ(cluster().sql("show max_connections")->at(0).at(0), "120");
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Maintenance, ScheduledRestart) {
  run_cluster();
  Node& primary = leader();
  const pid_t before = primary.postmaster();
  auto body = [](int seconds) {
    auto when = std::chrono::system_clock::now() + std::chrono::seconds(seconds);
    return R"({"schedule":")" + iso_time(when) + "\"}";
  };
  EXPECT_EQ(primary.rest("POST", "/restart", body(3600)), "202 Restart scheduled");
  EXPECT_EQ(primary.rest("POST", "/restart", body(3600)),
            "409 Another restart is already scheduled");
  EXPECT_EQ(primary.rest("DELETE", "/restart"), "200 scheduled restart deleted");
  EXPECT_EQ(primary.rest("DELETE", "/restart"), "404 no restart is scheduled");
  const auto from = Clock::now();
  EXPECT_EQ(primary.rest("POST", "/restart", body(4)), "202 Restart scheduled");
  EXPECT_TRUE(eventually(
      kLong, [&] { return primary.postmaster() != 0 && primary.postmaster() != before; }));
  EXPECT_GE(Clock::now() - from, std::chrono::seconds(3));  // the machine's clock may be slewed
  expect_recovered();
  EXPECT_EQ(cluster().primary(), &primary);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Maintenance, ARestartThatTakesLongerThanItMaySaysSo) {
  run_cluster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  const pid_t before = replica->postmaster();
  auto answer = std::async(
      std::launch::async, [&] { return replica->rest("POST", "/restart", R"({"timeout":"6s"})"); });
  pid_t postmaster = 0;
  ASSERT_TRUE(eventually(
      kLong,
      [&] {
        postmaster = replica->postmaster();
        return postmaster != 0 && postmaster != before;
      },
      Millis(1)));
  kill_pids({postmaster}, SIGSTOP);
  EXPECT_EQ(answer.get(), "503 postgres is still starting");
  kill_pids({postmaster}, SIGCONT);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Maintenance, ReinitializeClonesAReplicaAnew) {
  run_cluster();
  Node& primary = leader();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  auto trace = replica->data() / "before_the_clone";
  write_private(trace, "x");
  EXPECT_EQ(primary.rest("POST", "/reinitialize"), "503 I am the leader, can not reinitialize");
  EXPECT_EQ(replica->rest("POST", "/reinitialize"), "200 reinitialize started");
  EXPECT_TRUE(eventually(kLong, [&] { return !std::filesystem::exists(trace); }));
  expect_recovered();
  EXPECT_EQ(replica->role(), "standby");
  expect_nothing_lost();
  expect_no_split();
}

// What it has may be the newest that is left when the leader is lost next.
TEST_F(Maintenance, AReplicaGivesItsDataUpOnlyIfItCanBeClonedAnew) {
  run_cluster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  auto trace = replica->data() / "before_the_clone";
  write_private(trace, "x");
  ASSERT_TRUE(cluster().sql("ALTER ROLE replicator NOLOGIN"));
  EXPECT_EQ(replica->rest("POST", "/reinitialize"), "200 reinitialize started");
  let_pass(Millis(5000));
  EXPECT_TRUE(std::filesystem::exists(trace));
  ASSERT_TRUE(cluster().sql("ALTER ROLE replicator LOGIN"));
  EXPECT_TRUE(eventually(kLong, [&] { return !std::filesystem::exists(trace); }));
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Maintenance, AReloadDisturbsNobody) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster(), agent = primary.agent();
  EXPECT_EQ(primary.rest("POST", "/reload"), "202 reload scheduled");
  EXPECT_TRUE(eventually(kLong, [&] { return primary.agent() != 0 && primary.agent() != agent; }));
  let_pass(Millis(8000));
  expect_undisturbed(primary, server);
  expect_recovered();
  expect_no_split();
}

pid_t program_of(const Node& node, const std::string& name) {
  for (pid_t child : children_of(node.guardian())) {
    auto arguments = arguments_of(child);
    if (!arguments.empty() && arguments[0].ends_with(name)) return child;
  }
  return 0;
}

TEST_F(Maintenance, AReloadDoesNotBreakAClone) {
  run_cluster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  const pid_t agent = replica->agent();
  auto says = [&](const char* words) {
    return tail(replica->log(), 400).find(words) != std::string::npos;
  };
  EXPECT_EQ(replica->rest("POST", "/reinitialize"), "200 reinitialize started");
  pid_t clone = 0;
  ASSERT_TRUE(eventually(
      kLong, [&] { return (clone = program_of(*replica, "/pg_basebackup")) != 0; }, Millis(1)));
  kill_pids({clone}, SIGSTOP);
  EXPECT_EQ(replica->rest("POST", "/reload"), "202 reload scheduled");
  EXPECT_TRUE(
      eventually(kLong, [&] { return says("reload is put off until the clone has ended"); }));
  let_pass(Millis(1000));
  EXPECT_EQ(replica->agent(), agent);
  EXPECT_EQ(program_of(*replica, "/pg_basebackup"), clone);
  kill_pids({clone}, SIGCONT);
  EXPECT_TRUE(
      eventually(kLong, [&] { return replica->agent() != 0 && replica->agent() != agent; }));
  expect_recovered();
  EXPECT_EQ(replica->role(), "standby");
  EXPECT_FALSE(says("is killed")) << "the guardian killed the clone";
  expect_no_split();
}

TEST_F(Maintenance, TheCommandsAskTheCluster) {
  run_cluster();
  Node& old = leader();
  Node* to = cluster().a_replica();
  ASSERT_TRUE(to);
  const std::string file = old.yaml();
  auto unconfirmed = pgsteady(cluster(), {"switchover", "-c", file, "--candidate", to->name});
  EXPECT_NE(unconfirmed.exit_code, 0);
  EXPECT_THAT(unconfirmed.text, HasSubstr("--force"));
  auto done = pgsteady(cluster(), {"switchover", "-c", file, "--candidate", to->name, "--force"});
  EXPECT_EQ(done.exit_code, 0) << done.text;
  EXPECT_THAT(done.text, HasSubstr("Successfully switched over to \"" + to->name + "\""));
  expect_recovered();
  for (const char* verb : {"pause", "resume"}) {
    auto output = pgsteady(cluster(), {verb, "-c", file, "--wait"});
    EXPECT_EQ(output.exit_code, 0) << output.text;
  }
  auto restarted = pgsteady(cluster(), {"restart", "-c", file, "e2e", old.name, "--force"});
  EXPECT_EQ(restarted.exit_code, 0) << restarted.text;
  auto unknown = pgsteady(cluster(), {"reinit", "-c", file, "e2e", "nobody", "--force"});
  EXPECT_NE(unknown.exit_code, 0);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
