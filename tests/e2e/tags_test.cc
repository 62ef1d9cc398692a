// The tags of members, read from their YAML and honoured by the others.
#include <fstream>
#include <sstream>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Tags : public E2e {
 protected:
  // pg1 leads; the tags are lines of the YAML of pg2 and pg3.
  void run_with(const std::string& second, const std::string& third, ClusterOptions options = {}) {
    prepare(std::move(options));
    append(1, second);
    append(2, third);
    cluster().node(0).start();
    if (!cluster().wait_primary(kLong)) throw std::runtime_error("no primary");
    cluster().start_all();
    bool all = eventually(kLong, [&] {
      auto rows = cluster().sql("select count(*) from pg_stat_replication");
      return rows && rows->at(0).at(0) == "2";
    });
    if (!all) throw std::runtime_error("two replicas do not stream");
    watch();
  }
  void append(int node, const std::string& tags) {
    if (tags.empty()) return;
    std::ofstream(cluster().node(node).yaml(), std::ios::app) << "tags:\n  " << tags << "\n";
  }
  void set_parameters(Node& node, const std::string& lines) {
    std::stringstream text;
    text << std::ifstream(node.yaml()).rdbuf();
    auto yaml = text.str();
    const std::string before = "  parameters:\n";
    yaml.insert(yaml.find(before) + before.size(), "    " + lines + "\n");
    std::ofstream(node.yaml()) << yaml;
  }
  int status(Node& node, const std::string& path) {
    auto reply = node.rest(path);
    return reply ? reply->status : 0;
  }
  // Its replicas have the same WAL, and it is gone.
  void lose(Node& primary) {
    EXPECT_TRUE(eventually(kLong, [&] {
      auto rows = cluster().sql("select count(distinct flush_lsn) from pg_stat_replication");
      return rows && rows->at(0).at(0) == "1";
    }));
    primary.kill_everything();
  }
  Node& first() { return cluster().node(0); }
  Node& second() { return cluster().node(1); }
  Node& third() { return cluster().node(2); }
};

TEST_F(Tags, WhoMayNotLeadDoesNotAndWhoTakesNoReadersSaysSo) {
  run_with("nofailover: true", "noloadbalance: true");
  EXPECT_TRUE(eventually(kLong, [&] { return status(second(), "/replica") == 200; }));
  EXPECT_TRUE(eventually(kLong, [&] { return status(third(), "/health") == 200; }));
  EXPECT_EQ(status(third(), "/replica"), 503);
  EXPECT_THAT(first().rest("POST", "/switchover", R"({"leader":"pg1","candidate":"pg2"})"),
              HasSubstr("412 switchover is not possible"));
  first().kill_everything();
  EXPECT_EQ(cluster().wait_primary(kLong, &first()), &third());
  EXPECT_TRUE(writer().wait_acks(100, kLong));
  third().kill_everything();
  EXPECT_FALSE(cluster().wait_primary(Millis(12000))) << "nobody else is there, but it may not";
  first().start();
  third().start();
  expect_recovered();
  EXPECT_EQ(second().role(), "standby");
  expect_no_split();
}

TEST_F(Tags, OfTheSameWalTheOneOfHigherPriorityLeads) {
  run_with("failover_priority: 1", "failover_priority: 2");
  writer().stop();
  auto all_have_all = [&] {
    const auto* with =
        "select count(*) from pg_stat_replication where flush_lsn = pg_current_wal_lsn()";
    auto rows = ask(first().superuser(), with);
    return rows && rows->at(0).at(0) == "2";
  };
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(eventually(kLong, all_have_all));
    lose(first());
    EXPECT_EQ(cluster().wait_primary(kLong, &first()), &third());
    first().start();
    ASSERT_TRUE(cluster().wait_healthy(kLong));
    EXPECT_THAT(third().rest("POST", "/switchover", R"({"leader":"pg3","candidate":"pg1"})"),
                HasSubstr("200 "));
    ASSERT_TRUE(cluster().wait_healthy(kLong));
  }
  expect_no_split();
}

TEST_F(Tags, WhoIsNotToBeWaitedForIsNot) {
  ClusterOptions options;
  options.dcs.push_back("synchronous_mode: true");
  run_with("nosync: true", "", options);
  auto sync_key = [&] { return etcd().get(cluster().key("sync")); };
  EXPECT_TRUE(eventually(kLong, [&] { return sync_key().find("\"pg3\"") != std::string::npos; }));
  third().kill_everything();
  EXPECT_TRUE(eventually(kLong, [&] { return sync_key().find("\"pg3\"") == std::string::npos; }));
  EXPECT_TRUE(writer().wait_acks(100, kLong)) << "with nobody left to wait for";
  EXPECT_THAT(sync_key(), Not(HasSubstr("\"pg2\"")));
  third().start();
  EXPECT_TRUE(eventually(kLong, [&] { return sync_key().find("\"pg3\"") != std::string::npos; }));
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// What it has came out of the archive, file by file.
TEST_F(Tags, WhoStreamsFromNobodyLivesOnTheArchive) {
  prepare();
  const auto archive = dir_.path() / "wal";
  std::filesystem::create_directory(archive);
  std::filesystem::permissions(archive, std::filesystem::perms::all);
  const auto files = archive.string() + "/%f";
  set_parameters(first(), "archive_mode: \"on\"\n    archive_command: cp %p " + files);
  set_parameters(second(), "restore_command: cp " + files + " %p");
  append(1, "nostream: true");
  first().start();
  ASSERT_TRUE(cluster().wait_primary(kLong));
  second().start();
  ASSERT_TRUE(eventually(kLong, [&] { return second().role() == "standby"; }));
  ASSERT_TRUE(cluster().sql("create table t as select 1 as kept"));
  ASSERT_TRUE(cluster().sql("select pg_switch_wal()"));
  EXPECT_TRUE(eventually(kLong, [&] {
    auto rows = ask(second().superuser(), "select count(*) from t");
    return rows && rows->at(0).at(0) == "1";
  }));
  auto streams = cluster().sql("select count(*) from pg_stat_replication");
  EXPECT_TRUE(streams && streams->at(0).at(0) == "0");
  auto slots = cluster().sql("select count(*) from pg_replication_slots");
  EXPECT_TRUE(slots && slots->at(0).at(0) == "0") << "it would hold WAL back for ever";
}

}  // namespace
}  // namespace pgsteady::testing
