#include "api/endpoints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "api/health.h"

namespace pgsteady::api {
namespace {

using namespace std::chrono_literals;
using agent::NodeStatus;
using testing::HasSubstr;
using testing::Not;

constexpr std::chrono::nanoseconds kNow = 1000s;

NodeStatus node() {
  NodeStatus status;
  status.scope = "demo";
  status.name = "pg1";
  status.version = "0.1.0";
  status.state = "running";
  status.dcs_reachable = true;
  status.loop_ran_at = kNow - 1s;
  status.ttl = 5s;
  status.dcs_last_seen = WallTime(1700000000s);
  status.server.state = ServerState::running;
  status.server.timeline = 3;
  status.server.version = 150018;
  status.server.start_time = "2026-11-22 14:03:00.500000+00:00";
  status.server.system_id = SystemId{7301};
  status.cluster.leader = LeaderKey{"pg1", 1, 17};
  status.cluster.status = ClusterStatus{Lsn{1000}, {}};
  return status;
}

NodeStatus primary() {
  auto status = node();
  status.has_lock = true;
  status.deadline = kNow + 2s;
  status.server.write_lsn = Lsn{1000};
  status.server.replication = {
      {"replicator", "pg2", "10.0.0.2", "streaming", "async", 0, Lsn{900}}};
  return status;
}

NodeStatus replica() {
  auto status = node();
  status.name = "pg2";
  status.server.in_recovery = true;
  status.server.receive_lsn = Lsn{900};
  status.server.replay_lsn = Lsn{800};
  status.server.receiver_state = "streaming";
  return status;
}

NodeStatus stopped() {
  auto status = node();
  status.state = "stopped";
  status.server = {};
  return status;
}

http::Response ask(const NodeStatus& status, const std::string& target,
                   const std::string& method = "GET") {
  http::Request request;
  request.method = method;
  EXPECT_TRUE(http::parse_target(target, request)) << target;
  return respond(status, request, kNow);
}

boost::json::object document(const NodeStatus& status, const std::string& target) {
  return boost::json::parse(ask(status, target).body).as_object();
}

struct HealthCase {
  const char* target;
  int primary, replica, stopped;
};

class Health : public testing::TestWithParam<HealthCase> {};

TEST_P(Health, AnswersByState) {
  const auto& expected = GetParam();
  for (const char* method : {"GET", "HEAD", "OPTIONS"}) {
    EXPECT_EQ(ask(primary(), expected.target, method).status, expected.primary) << expected.target;
    EXPECT_EQ(ask(replica(), expected.target, method).status, expected.replica) << expected.target;
    EXPECT_EQ(ask(stopped(), expected.target, method).status, expected.stopped) << expected.target;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Paths, Health,
    testing::Values(
        HealthCase{"/", 200, 503, 503}, HealthCase{"/primary", 200, 503, 503},
        HealthCase{"/master", 200, 503, 503}, HealthCase{"/read-write", 200, 503, 503},
        HealthCase{"/leader", 200, 503, 503}, HealthCase{"/primary/more", 200, 503, 503},
        HealthCase{"/primary?tag_x=y", 200, 503, 503}, HealthCase{"/standby-leader", 503, 503, 503},
        HealthCase{"/standby_leader", 503, 503, 503}, HealthCase{"/replica", 503, 200, 503},
        HealthCase{"/replica?lag=200", 503, 200, 503},
        HealthCase{"/replica?lag=199", 503, 503, 503},
        HealthCase{"/replica?lag=1kB", 503, 200, 503},
        HealthCase{"/replica?lag=soon", 503, 200, 503},
        HealthCase{"/replica?replication_state=streaming", 503, 200, 503},
        HealthCase{"/replica?replication_state=other", 503, 503, 503},
        HealthCase{"/replica?tag_zone=a", 503, 503, 503}, HealthCase{"/read-only", 200, 200, 503},
        HealthCase{"/sync", 503, 503, 503}, HealthCase{"/synchronous", 503, 503, 503},
        HealthCase{"/quorum", 503, 503, 503}, HealthCase{"/async", 503, 200, 503},
        HealthCase{"/asynchronous", 503, 200, 503}, HealthCase{"/read-only-sync", 200, 503, 503},
        HealthCase{"/read-only-quorum", 200, 503, 503}, HealthCase{"/health", 200, 200, 503},
        HealthCase{"/liveness", 200, 200, 200}, HealthCase{"/readiness", 200, 200, 503},
        HealthCase{"/readiness?lag=150", 200, 503, 503},
        HealthCase{"/readiness?lag=150&mode=write", 200, 200, 503},
        HealthCase{"/patroni", 200, 200, 200}, HealthCase{"/cluster", 200, 200, 200},
        HealthCase{"/history", 200, 200, 200}, HealthCase{"/metrics", 200, 200, 200},
        HealthCase{"/config", 502, 502, 502}, HealthCase{"/failsafe", 502, 502, 502},
        HealthCase{"/nonsense", 503, 503, 503}));

TEST(Endpoints, AnExpiredLockIsNone) {
  auto status = primary();
  status.deadline = kNow;
  EXPECT_EQ(ask(status, "/primary").status, 503);
  status.deadline.reset();
  EXPECT_EQ(ask(status, "/primary").status, 503);
  status = primary();
  status.has_lock = false;
  EXPECT_EQ(ask(status, "/leader").status, 503);
}

TEST(Endpoints, TagsDecideOverReplicas) {
  auto status = replica();
  status.tags.values = {{"zone", "a"}, {"weight", 3}, {"nosync", true}, {"clonefrom", false}};
  EXPECT_EQ(ask(status, "/replica?tag_zone=a&tag_weight=3&tag_nosync=true").status, 200);
  EXPECT_EQ(ask(status, "/replica?tag_zone=b").status, 503);
  EXPECT_EQ(document(status, "/patroni").at("tags").as_object(),
            (boost::json::object{{"zone", "a"}, {"weight", 3}, {"nosync", true}}));
  status.tags.values = {{"nofailover", false}, {"failover_priority", 0}};
  EXPECT_TRUE(document(status, "/patroni").at("tags").as_object().contains("nofailover"))
      << "it takes precedence";
  status.tags.values = {{"noloadbalance", true}};
  EXPECT_EQ(ask(status, "/replica").status, 503);
  EXPECT_EQ(ask(status, "/read-only").status, 503);
  EXPECT_EQ(ask(status, "/async").status, 503);
  EXPECT_EQ(ask(status, "/health").status, 200);
}

TEST(Endpoints, LivenessFollowsTheLoop) {
  auto status = primary();
  status.loop_ran_at = kNow - 6s;
  EXPECT_EQ(ask(status, "/liveness").status, 503);
  status.cluster.config = DynamicConfig{};
  status.cluster.config->pause = true;
  EXPECT_EQ(ask(status, "/liveness").status, 200);
  status = replica();
  status.loop_ran_at = kNow - 9s;
  EXPECT_EQ(ask(status, "/liveness").status, 200);
  status.loop_ran_at = kNow - 10s;
  EXPECT_EQ(ask(status, "/liveness").status, 503);
}

TEST(Endpoints, ReadinessWantsAStreamingReplica) {
  auto status = replica();
  status.server.receiver_state.clear();
  EXPECT_EQ(ask(status, "/readiness").status, 503);
  status = replica();
  status.cluster.status->optime = Lsn{800 + (1 << 20)};
  EXPECT_EQ(ask(status, "/readiness").status, 200);
  status.cluster.status->optime = Lsn{801 + (1 << 20)};
  EXPECT_EQ(ask(status, "/readiness").status, 503);
}

TEST(Endpoints, PatroniDocumentOfAPrimary) {
  auto out = document(primary(), "/patroni");
  EXPECT_EQ(out.at("state").as_string(), "running");
  EXPECT_EQ(out.at("role").as_string(), "primary");
  EXPECT_EQ(out.at("xlog").as_object(), (boost::json::object{{"location", 1000}}));
  EXPECT_EQ(out.at("server_version").as_int64(), 150018);
  EXPECT_EQ(out.at("timeline").to_number<int>(), 3);
  EXPECT_EQ(out.at("replication").at(0).at("application_name").as_string(), "pg2");
  EXPECT_EQ(out.at("dcs_last_seen").as_int64(), 1700000000);
  EXPECT_EQ(out.at("database_system_identifier").as_string(), "7301");
  EXPECT_EQ(out.at("patroni").as_object(),
            (boost::json::object{{"version", "4.1.4"}, {"scope", "demo"}, {"name", "pg1"}}));
  EXPECT_EQ(out.at("pgsteady").as_object(),
            (boost::json::object{{"version", "0.1.0"}, {"instance", ""}}));
  for (const char* absent :
       {"pause", "cluster_unlocked", "tags", "pending_restart", "watchdog_failed"}) {
    EXPECT_FALSE(out.contains(absent)) << absent;
  }
  EXPECT_EQ(ask(primary(), "/primary").body, ask(primary(), "/patroni").body);
  EXPECT_EQ(ask(primary(), "/patroni").content_type, "application/json");
}

TEST(Endpoints, PatroniDocumentOfAReplicaInARace) {
  auto status = replica();
  status.cluster_unlocked = status.watchdog_failed = true;
  status.race = NodeStatus::RaceFigure{17, 3, Lsn{900}};
  auto out = document(status, "/patroni");
  EXPECT_EQ(out.at("role").as_string(), "replica");
  EXPECT_EQ(out.at("xlog").as_object(), (boost::json::object{{"received_location", 900},
                                                             {"replayed_location", 800},
                                                             {"replayed_timestamp", nullptr},
                                                             {"paused", false}}));
  EXPECT_EQ(out.at("replication_state").as_string(), "streaming");
  EXPECT_TRUE(out.at("cluster_unlocked").as_bool());
  EXPECT_TRUE(out.at("watchdog_failed").as_bool());
  const auto& race = out.at("pgsteady").at("race");
  EXPECT_EQ(race.at("leaderless_revision").as_int64(), 17);
  EXPECT_EQ(race.at("timeline").to_number<int>(), 3);
  EXPECT_EQ(race.at("lsn").as_int64(), 900);
}

TEST(Endpoints, StoppedNodesShowWhatIsKnown) {
  auto status = stopped();
  status.server.control = ControlFile{};
  status.server.control->system_id = SystemId{7301};
  auto out = document(status, "/patroni");
  EXPECT_EQ(out.at("state").as_string(), "stopped");
  EXPECT_EQ(out.at("database_system_identifier").as_string(), "7301");
  EXPECT_FALSE(out.contains("xlog"));
}

TEST(Endpoints, ClusterDocument) {
  auto status = primary();
  Member leader, other;
  leader.name = "pg1";
  leader.conn_url = "postgres://10.0.0.1:5432/postgres";
  leader.api_url = "http://10.0.0.1:8008/patroni";
  leader.state = "running";
  leader.role = "primary";
  leader.timeline = 3;
  other = leader;
  other.name = "pg2";
  other.replication_state = "streaming";
  other.receive_lsn = Lsn{0x1000000};
  other.tags.values = {{"nofailover", true}};
  status.cluster.members = {leader, other};
  status.cluster.status->optime = Lsn{0x1000010};
  status.cluster.failover = FailoverRequest{"pg1", "pg2", "2026-11-23T00:00:00+00:00", 5};
  auto out = document(status, "/cluster");
  const auto& members = out.at("members").as_array();
  EXPECT_EQ(members.at(0).as_object(),
            (boost::json::object{{"name", "pg1"},
                                 {"role", "leader"},
                                 {"state", "running"},
                                 {"api_url", "http://10.0.0.1:8008/patroni"},
                                 {"host", "10.0.0.1"},
                                 {"port", 5432},
                                 {"timeline", 3}}));
  const auto& second = members.at(1).as_object();
  EXPECT_EQ(second.at("role").as_string(), "replica");
  EXPECT_EQ(second.at("state").as_string(), "streaming");
  EXPECT_EQ(second.at("receive_lsn").as_string(), "0/1000000");
  EXPECT_EQ(second.at("receive_lag").as_int64(), 16);
  EXPECT_EQ(second.at("replay_lsn").as_string(), "unknown");
  EXPECT_EQ(second.at("lag").as_int64(), 16);
  EXPECT_TRUE(second.at("tags").at("nofailover").as_bool());
  EXPECT_EQ(out.at("scheduled_switchover").at("to").as_string(), "pg2");
  EXPECT_EQ(out.at("scope").as_string(), "demo");
}

TEST(Endpoints, ConfigAndHistory) {
  auto status = primary();
  status.cluster.config = DynamicConfig{};
  status.cluster.config->raw = {{"ttl", 5}, {"own", "kept"}};
  EXPECT_EQ(ask(status, "/config").body, R"({"ttl":5,"own":"kept"})");
  EXPECT_EQ(ask(status, "/history").body, "[]");
  status.cluster.history = {{1, Lsn{77}, "no recovery target specified", "2026-11-22", "pg1"}};
  EXPECT_THAT(ask(status, "/history").body, HasSubstr("[[1,77,\"no recovery target specified\""));
}

TEST(Endpoints, OtherMethodsAreNotImplemented) {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "BREW", ""}) {
    EXPECT_EQ(ask(primary(), "/patroni", method).status, 501) << method;
  }
  EXPECT_EQ(ask(primary(), "/primary", "HEAD").body, "");
  EXPECT_EQ(ask(primary(), "/primary", "OPTIONS").body, "");
}

TEST(Metrics, NamesAndValues) {
  auto status = primary();
  status.scope = "de\"mo";
  status.renewal_latency = 2ms;
  status.fence_events = 4;
  auto text = ask(status, "/metrics").body;
  auto line = [](const std::string& name, const std::string& value) {
    return "\n" + name + "{scope=\"de\\\"mo\",name=\"pg1\"} " + value + "\n";
  };
  EXPECT_THAT(text, HasSubstr(line("patroni_version", "040104")));
  EXPECT_THAT(text, HasSubstr(line("patroni_primary", "1")));
  EXPECT_THAT(text, HasSubstr(line("patroni_xlog_location", "1000")));
  EXPECT_THAT(text, HasSubstr(line("patroni_postmaster_start_time", "1795356180.500000")));
  EXPECT_THAT(text, HasSubstr(line("patroni_postgres_server_version", "150018")));
  EXPECT_THAT(text, HasSubstr(line("patroni_postgres_state", "5")));
  EXPECT_THAT(text, HasSubstr(line("patroni_failsafe_member", "0")));
  EXPECT_THAT(text, HasSubstr(line("patroni_dcs_last_seen", "1700000000")));
  EXPECT_THAT(text, HasSubstr(line("pgsteady_renewal_latency_seconds", "0.002")));
  EXPECT_THAT(text, HasSubstr(line("pgsteady_deadline_slack_seconds", "2")));
  EXPECT_THAT(text, HasSubstr(line("pgsteady_fence_events_total", "4")));
  EXPECT_THAT(ask(status, "/metrics").content_type, HasSubstr("text/plain"));

  text = ask(replica(), "/metrics").body;
  EXPECT_THAT(text, HasSubstr("patroni_replica{scope=\"demo\",name=\"pg2\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("patroni_xlog_replayed_location{scope=\"demo\",name=\"pg2\"} 800\n"));
  EXPECT_THAT(text, Not(HasSubstr("deadline_slack")));
}

TEST(Metrics, AnEmptyStatusHurtsNobody) {
  for (const char* target : {"/metrics", "/patroni", "/cluster", "/replica", "/readiness"}) {
    EXPECT_NE(ask(NodeStatus{}, target).status, 0) << target;
  }
}

TEST(ParseBytes, Units) {
  EXPECT_EQ(parse_bytes("0"), 0);
  EXPECT_EQ(parse_bytes("16kB"), 16384);
  EXPECT_EQ(parse_bytes("10 MB"), 10 << 20);
  EXPECT_EQ(parse_bytes("99999999999TB"), INT64_MAX);
  for (const char* bad : {"", "MB", "-1", "1XB", "1MBs", "99999999999999999999999"}) {
    EXPECT_FALSE(parse_bytes(bad)) << bad;
  }
}

}  // namespace
}  // namespace pgsteady::api
