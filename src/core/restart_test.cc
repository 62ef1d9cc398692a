#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

using Kind = Request::Kind;

Request request(Kind kind) {
  Request r;
  r.kind = kind;
  r.id = 9;
  r.received = at(99999ms);
  return r;
}

TEST(Restart, APrimaryIsStoppedAndStartedUnderItsLock) {
  auto c = Case();
  c.seen.requests = {request(Kind::restart)};
  auto decision = c.decide();
  EXPECT_TRUE(find<StopServer>(decision));
  EXPECT_EQ(reply(decision), "");
  c.state = decision.state;
  c.seen.requests.clear();
  c.stopped("shut down");
  decision = c.decide();
  ASSERT_TRUE(find<StartServer>(decision));
  EXPECT_TRUE(find<StartServer>(decision)->as_primary);
  c.state = decision.state;
  c.seen.guard.as_primary = true;
  c.running_primary();
  EXPECT_EQ(reply(c.decide()), "200 restarted successfully");
}

TEST(Restart, AlsoInAPause) {
  auto c = Case();
  c.seen.dcs.cluster.config->pause = true;
  c.seen.requests = {request(Kind::restart)};
  auto decision = c.decide();
  EXPECT_TRUE(find<StopServer>(decision));
  c.state = decision.state;
  c.seen.requests.clear();
  c.stopped("shut down");
  EXPECT_TRUE(find<StartServer>(c.decide()));
  c.state.restart.reset();
  EXPECT_FALSE(find<StartServer>(c.decide()));
}

TEST(Restart, OnlyUnderItsConditions) {
  auto refused = "503 restart conditions are not satisfied";
  auto r = request(Kind::restart);
  r.restart_pending = true;
  EXPECT_EQ(reply_to(Case(), r), refused);
  r = request(Kind::restart);
  r.role = "replica";
  EXPECT_EQ(reply_to(Case(), r), refused);
  EXPECT_EQ(reply_to(Case().follows(), r), "");
  r = request(Kind::restart);
  r.postgres_version = 150004;
  auto c = Case();
  c.seen.server.version = 150004;
  EXPECT_EQ(reply_to(c, r), refused);
  c.seen.job = JobKind::clone;
  EXPECT_EQ(reply_to(c, request(Kind::restart)), "503 reinitialize already in progress");
}

TEST(Restart, IsAnsweredWhenItsTimeIsOver) {
  auto c = Case();
  auto r = request(Kind::restart);
  r.timeout = 10s;
  c.seen.requests = {r};
  c.state = c.decide().state;
  c.seen.requests.clear();
  c.now.boot += 10s;
  c.seen.lease.held_until = c.seen.guard.deadline = c.now.boot + 3s;
  EXPECT_EQ(reply(c.decide()), "503 restart failed");
}

TEST(Restart, AScheduledOneWaitsAndCanBeDeleted) {
  auto c = Case();
  auto r = request(Kind::restart);
  r.scheduled_at = iso_time(c.now.wall + 5s);
  c.seen.requests = {r};
  auto decision = c.decide();
  EXPECT_EQ(reply(decision), "202 Restart scheduled");
  EXPECT_FALSE(find<StopServer>(decision));
  EXPECT_NE(find_txn(decision, TxnKind::member)->operations[0].value.find("scheduled_restart"),
            std::string::npos);
  c.state = decision.state;
  EXPECT_EQ(reply(c.decide()), "409 Another restart is already scheduled");
  auto cancelled = c;
  cancelled.seen.requests = {request(Kind::cancel_restart)};
  decision = cancelled.decide();
  EXPECT_EQ(reply(decision), "200 scheduled restart deleted");
  cancelled.state = decision.state;
  EXPECT_EQ(reply(cancelled.decide()), "404 no restart is scheduled");
  c.seen.requests.clear();
  c.now.wall += 5s;
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.seen.server.start_time = "another";
  EXPECT_FALSE(find<StopServer>(c.decide())) << "the server was restarted meanwhile";
}

TEST(Restart, IsNotScheduledInAPause) {
  auto c = Case();
  c.seen.dcs.cluster.config->pause = true;
  auto r = request(Kind::restart);
  r.scheduled_at = "2100-01-01T00:00Z";
  EXPECT_EQ(reply_to(c, r), "500 Can't schedule restart in the paused state");
}

TEST(Reinitialize, AReplicaIsStoppedAndClonedAnew) {
  auto c = Case().follows();
  c.seen.requests = {request(Kind::reinitialize)};
  auto decision = c.decide();
  EXPECT_EQ(reply(decision), "200 reinitialize started");
  EXPECT_TRUE(find<StopServer>(decision));
  c.state = decision.state;
  c.seen.requests.clear();
  c.stopped("shut down in recovery");
  decision = c.decide();
  EXPECT_TRUE(find<Clone>(decision));
  c.state = decision.state;
  c.seen.job_ends = {{JobKind::clone, true, false, "pg2"}};
  decision = c.decide();
  EXPECT_FALSE(find<Clone>(decision));
  EXPECT_FALSE(decision.state.reinitialize);
}

TEST(Reinitialize, ACopyThatCommitsRestOnIsKept) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.dcs.cluster.config->synchronous_mode = SynchronousMode::on;
  c.seen.dcs.cluster.sync = SyncState{"pg2", {"pg1"}, 0};
  c.state.reinitialize = true;
  EXPECT_FALSE(find<Clone>(c.decide()));
  c.seen.dcs.cluster.sync = SyncState{"pg2", {"pg3"}, 0};
  EXPECT_TRUE(find<Clone>(c.decide()));
}

TEST(Reinitialize, NeverALeader) {
  EXPECT_EQ(reply_to(Case(), request(Kind::reinitialize)),
            "503 I am the leader, can not reinitialize");
  EXPECT_EQ(reply_to(Case().leaderless(), request(Kind::reinitialize)),
            "503 Cluster has no leader, can not reinitialize");
  auto c = Case().follows();
  c.state.reinitialize = true;
  c.leads();
  auto decision = c.decide();
  EXPECT_FALSE(find<StopServer>(decision));
  EXPECT_FALSE(decision.state.reinitialize);
}

TEST(Reinitialize, AJobUnderWayIsCancelledOnlyByForce) {
  auto c = Case().follows();
  c.seen.job = JobKind::rewind;
  auto r = request(Kind::reinitialize);
  EXPECT_EQ(reply_to(c, r), "503 pg_rewind already in progress");
  r.force = true;
  c.seen.requests = {r};
  auto decision = c.decide();
  EXPECT_TRUE(find<CancelJob>(decision));
  EXPECT_EQ(reply(decision), "200 reinitialize started");
}

TEST(Configuration, APatchIsMergedAndNullDeletes) {
  auto c = Case();
  c.seen.dcs.cluster.config = dynamic_config_from_object(
      {{"ttl", 5}, {"pause", true}, {"postgresql", {{"parameters", {{"a", 1}}}}}});
  auto r = request(Kind::patch_config);
  r.config = {{"pause", nullptr}, {"postgresql", {{"parameters", {{"b", 2}}}}}};
  c.seen.requests = {r};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::config);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::unchanged("config", 5)});
  EXPECT_EQ(txn->operations[0].value, R"({"ttl":5,"postgresql":{"parameters":{"a":1,"b":2}}})");
  c.state = decision.state;
  c.seen.requests.clear();
  c.seen.txn_ends = {{TxnKind::config, true, false, true, 210, 0}};
  EXPECT_EQ(reply(c.decide()).substr(0, 12), "200 {\"ttl\":5");
  c.seen.txn_ends[0].succeeded = false;
  EXPECT_EQ(reply(c.decide()).substr(0, 4), "409 ");
}

}  // namespace
}  // namespace pgsteady::core::testing
