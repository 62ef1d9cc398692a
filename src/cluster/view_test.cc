#include "cluster/view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteady {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

KeyValue kv(std::string key, std::string value, std::int64_t mod = 5, std::int64_t lease = 0) {
  return {std::move(key), std::move(value), 1, mod, lease};
}

TEST(ParseCluster, ReadsWhatPatroniWrites) {
  auto view = parse_cluster(
      {kv("config", R"({"ttl":30,"loop_wait":10,"maximum_lag_on_failover":1048576,
            "postgresql":{"use_slots":false,"parameters":{"max_connections":200}}})"),
       kv("history",
          R"([[1,25165984,"no recovery target specified","2026-01-01T00:00:00+00:00","b"]])"),
       kv("initialize", "7301234567890123456"), kv("leader", "pg1", 7, 99),
       kv("members/pg2", R"({"conn_url":"postgres://h:2/postgres","api_url":"http://h:8/patroni",
            "state":"running","role":"replica","version":"3.0.2","xlog_location":50331648,
            "timeline":2,"tags":{"nofailover":true,"zone":"1"}})",
          9, 98),
       kv("members/pg1", R"({"state":"running","role":"master"})"),
       kv("status", R"({"optime":50331649,"slots":{"pg2":50331648}})"), kv("failover", "{}")},
      12);
  EXPECT_THAT(view.problems, IsEmpty());
  EXPECT_EQ(view.settings().ttl, std::chrono::seconds(30));
  EXPECT_FALSE(view.settings().use_slots);
  EXPECT_EQ(view.leader, (LeaderKey{"pg1", 99, 7}));
  EXPECT_EQ(view.system_id()->value, 7301234567890123456u);
  ASSERT_EQ(view.members.size(), 2u);
  EXPECT_EQ(view.member("pg1")->role, "primary");
  EXPECT_EQ(view.member("pg2")->xlog_location, Lsn{50331648});
  EXPECT_TRUE(view.member("pg2")->tags.nofailover());
  EXPECT_EQ(view.status->optime, Lsn{50331649});
  EXPECT_EQ(view.history.at(0).end, Lsn{25165984});
  EXPECT_FALSE(view.failover);
}

TEST(ClusterStatus, WhatOthersPutThereIsKept) {
  const auto text = R"({"optime":5,"slots":{"a":7},"retain_slots":["pg2"]})";
  auto view = parse_cluster({kv("status", text)}, 9);
  ASSERT_TRUE(view.status);
  EXPECT_EQ(status_to_json(*view.status), text);
}

TEST(ClusterView, AFailoverKeyThatNamesNobodyIsGarbage) {
  auto view = parse_cluster({kv("failover", R"({"ttl":"many"})")}, 7);
  EXPECT_FALSE(view.failover);
  EXPECT_EQ(view.problems.size(), 1u);
  EXPECT_TRUE(parse_cluster({kv("failover", R"({"member":"pg2"})")}, 7).failover);
}

TEST(ParseCluster, GarbageIsNamedAndLeftOut) {
  auto view =
      parse_cluster({kv("config", "\xff{"), kv("status", "[1]"), kv("history", "{}"),
                     kv("members/x", R"({"timeline":"soon","role":7})"), kv("members/", "{}"),
                     kv("failover", "nonsense"), kv("initialize", "abc"), kv("unknown", "??"),
                     kv("release", R"({"leader":1})"), kv("timeline", "x")},
                    3);
  EXPECT_THAT(view.problems,
              ElementsAre(HasSubstr("config"), HasSubstr("status"), HasSubstr("history"),
                          HasSubstr("members/x"), HasSubstr("failover"), HasSubstr("initialize"),
                          HasSubstr("release"), HasSubstr("timeline")));
  EXPECT_THAT(view.members, IsEmpty());
  EXPECT_FALSE(view.system_id());
  EXPECT_TRUE(view.initialize);  // garbage or not, somebody initialized
}

TEST(KeepConfig, WhatIsGoneOrGarbageIsWhatItWas) {
  const auto name = kv("initialize", "7123");
  const auto before = parse_cluster({name, kv("config", R"({"ttl":30,"pause":true})")}, 3);
  for (const auto& keys : {std::vector<KeyValue>{name}, {name, kv("config", "[")}}) {
    auto now = parse_cluster(keys, 4);
    keep_config(now, before);
    ASSERT_TRUE(now.config);
    EXPECT_TRUE(now.config_kept && now.settings().pause);
    auto later = parse_cluster(keys, 5);
    keep_config(later, now);
    EXPECT_TRUE(later.config_kept && later.settings().pause);
  }
  auto put = parse_cluster({name, kv("config", R"({"ttl":9})")}, 6);
  keep_config(put, before);
  EXPECT_FALSE(put.config_kept);
  EXPECT_FALSE(put.settings().pause);
  for (const auto& other : {std::vector<KeyValue>{}, {kv("initialize", "8")}}) {
    auto anew = parse_cluster(other, 7);
    keep_config(anew, before);
    EXPECT_FALSE(anew.config) << "another cluster's";
  }
  ClusterView never;
  keep_config(never, ClusterView{});
  EXPECT_FALSE(never.config || never.config_kept);
}

TEST(ParseCluster, AnEmptyLeaderKeyStillHoldsTheLock) {
  EXPECT_TRUE(parse_cluster({kv("leader", "")}, 3).leader);
}

TEST(DynamicConfig, WrongSettingsFallBackAndAreNamed) {
  auto config = dynamic_config_from_json(
      R"({"ttl":"soon","loop_wait":-1,"standby_cluster":{"host":"x"},"failsafe_mode":false,"pause":"on"})");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->ttl, std::chrono::seconds(5));
  EXPECT_TRUE(config->pause);
  EXPECT_THAT(config->wrong, ElementsAre(HasSubstr("ttl"), HasSubstr("loop_wait")));
  EXPECT_THAT(config->warnings, ElementsAre(HasSubstr("standby_cluster: not honoured yet")));
}

TEST(Member, JsonRoundTrip) {
  Member member;
  member.name = "pg1";
  member.conn_url = "postgres://127.0.0.1:5432/postgres";
  member.state = "running";
  member.role = "replica";
  member.receive_lsn = Lsn{1};
  member.timeline = 3;
  member.tags.values["clonefrom"] = true;
  member.pending_restart = true;
  member.pending_restart_reason = setting_changes_json({{"max_connections", {"100", "200"}}});
  auto json = member_to_json(member);
  EXPECT_THAT(json, HasSubstr(R"("max_connections":{"old_value":"100","new_value":"200"})"));
  EXPECT_THAT(json, ::testing::Not(HasSubstr("pause")));
  EXPECT_EQ(member_from_json("pg1", json), member);
}

TEST(Tags, SwitchesThatAreOffAreNotTold) {
  Tags tags;
  tags.values = {{"nosync", false}, {"clonefrom", "on"}, {"zone", false}, {"nofailover", false}};
  EXPECT_EQ(tags.told(), (boost::json::object{{"clonefrom", "on"}, {"zone", false}}));
  tags.values["failover_priority"] = 2;
  EXPECT_TRUE(tags.told().contains("nofailover")) << "it has its say over the other";
}

TEST(Tags, FailoverPriorityZeroMeansNofailover) {
  Tags tags;
  tags.values["failover_priority"] = 0;
  EXPECT_TRUE(tags.nofailover());
  tags.values["nofailover"] = false;
  EXPECT_FALSE(tags.nofailover());
}

TEST(HostPortOfUrl, TakesHostsPortsAndIpv6) {
  EXPECT_EQ(host_port_of_url("postgres://u:p@h:5433/db?x"), (HostPort{"h", 5433}));
  EXPECT_EQ(host_port_of_url("http://[::1]:8008/patroni"), (HostPort{"::1", 8008}));
  EXPECT_EQ(host_port_of_url("h"), (HostPort{"h", 0}));
  for (const char* bad : {"", "http://", "http://:80", "h:x", "h:70000", "[::1"}) {
    EXPECT_FALSE(host_port_of_url(bad)) << bad;
  }
}

}  // namespace
}  // namespace pgsteady
