#include "agent/peer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgsteady::agent {
namespace {

using testing::HasSubstr;

TEST(Peer, ReadsAReplicaOfOurs) {
  auto peer = parse_patroni(R"({"state":"running","role":"replica","server_version":150018,
    "timeline":3,"xlog":{"received_location":200,"replayed_location":100,"paused":false},
    "tags":{"nofailover":true},"database_system_identifier":"7301","cluster_unlocked":true,
    "patroni":{"version":"4.1.4","scope":"demo","name":"pg2"},
    "pgsteady":{"version":"0.1.0","unfit":true,"race":{"leaderless_revision":17,"timeline":3,"lsn":201}}})");
  ASSERT_TRUE(peer) << peer.error().text();
  EXPECT_EQ(peer->name, "pg2");
  EXPECT_TRUE(peer->in_recovery());
  EXPECT_EQ(peer->timeline, 3u);
  EXPECT_EQ(peer->last_lsn(), Lsn{200});
  EXPECT_TRUE(peer->tags.nofailover());
  EXPECT_EQ(peer->system_id, SystemId{7301});
  EXPECT_TRUE(peer->cluster_unlocked);
  EXPECT_TRUE(peer->unfit);
  ASSERT_TRUE(peer->race);
  EXPECT_EQ(peer->race->leaderless_revision, 17);
  EXPECT_EQ(peer->race->lsn, Lsn{201});
}

TEST(Peer, ReadsAPrimaryOfOldPatroni) {
  auto peer = parse_patroni(R"({"state":"running","role":"master","xlog":{"location":67419584},
    "timeline":1,"replication":[],"dcs_last_seen":1700000000,
    "patroni":{"version":"3.0.2","scope":"demo"}})");
  ASSERT_TRUE(peer) << peer.error().text();
  EXPECT_TRUE(peer->is_primary());
  EXPECT_EQ(peer->last_lsn(), Lsn{67419584});
  EXPECT_FALSE(peer->race);
}

TEST(Peer, AStoppedOneIsNeither) {
  auto peer = parse_patroni(R"({"state":"stopped","role":"primary"})");
  ASSERT_TRUE(peer);
  EXPECT_FALSE(peer->is_primary());
  EXPECT_FALSE(peer->in_recovery());
  EXPECT_FALSE(peer->last_lsn());
}

TEST(Peer, GarbageIsNamed) {
  auto message = [](const char* body) { return parse_patroni(body).error().message; };
  EXPECT_THAT(message("[]"), HasSubstr("object"));
  EXPECT_THAT(message("{"), HasSubstr(""));
  EXPECT_THAT(message("{}"), HasSubstr("state"));
  EXPECT_THAT(message(R"({"state":"running","xlog":{"location":"x"}})"), HasSubstr("location"));
  EXPECT_THAT(message(R"({"state":"running","timeline":-1})"), HasSubstr("timeline"));
  EXPECT_THAT(message(R"({"state":"running","xlog":[]})"), HasSubstr("xlog"));
  EXPECT_THAT(message(R"({"state":"running","pgsteady":{"race":{"timeline":1}}})"),
              HasSubstr("lsn"));
  EXPECT_THAT(message(R"({"state":"running","database_system_identifier":"x"})"),
              HasSubstr("database_system_identifier"));
}

}  // namespace
}  // namespace pgsteady::agent
