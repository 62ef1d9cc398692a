#include "cli/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace pgsteady::cli {
namespace {

using testing::HasSubstr;

boost::json::object document() {
  return boost::json::parse(R"({"members":[
    {"name":"pg1","role":"leader","state":"running","host":"127.0.0.1","port":5433,"timeline":2},
    {"name":"pg2","role":"replica","state":"streaming","host":"127.0.0.1","port":5434,"timeline":2,
     "receive_lsn":"0/4000060","receive_lag":1572864,"replay_lsn":"unknown","replay_lag":"unknown",
     "lsn":"0/4000060","lag":1572864}]})")
      .as_object();
}

TEST(Table, PrettyIsPatronictls) {
  EXPECT_EQ(
      render(member_table(document(), "demo", "7301", false), "pretty"),
      R"(+ Cluster: demo (7301) ---+---------+-----------+----+-------------+-----+------------+-----+
| Member | Host           | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |
+--------+----------------+---------+-----------+----+-------------+-----+------------+-----+
| pg1    | 127.0.0.1:5433 | Leader  | running   |  2 |             |     |            |     |
| pg2    | 127.0.0.1:5434 | Replica | streaming |  2 |   0/4000060 |   2 |    unknown |     |
+--------+----------------+---------+-----------+----+-------------+-----+------------+-----+
)");
}

TEST(Table, JsonLeavesOutWhatIsEmpty) {
  auto rows = boost::json::parse(render(member_table(document(), "demo", "7301", false), "json"));
  EXPECT_EQ(rows.at(0).as_object(), (boost::json::object{{"Cluster", "demo"},
                                                         {"Member", "pg1"},
                                                         {"Host", "127.0.0.1:5433"},
                                                         {"Role", "Leader"},
                                                         {"State", "running"},
                                                         {"TL", 2}}));
  EXPECT_EQ(rows.at(1).at("Receive Lag").as_int64(), 2);
  EXPECT_FALSE(rows.at(1).as_object().contains("Replay Lag"));
}

TEST(Table, TsvAndYaml) {
  auto table = member_table(document(), "demo", "7301", false);
  EXPECT_THAT(render(table, "tsv"), HasSubstr("Cluster\tMember\tHost\tRole\tState\tTL\tReceive LSN"
                                              "\tReceive Lag\tReplay LSN\tReplay Lag\n"
                                              "demo\tpg1\t127.0.0.1:5433\tLeader\trunning\t2\t\t"));
  EXPECT_THAT(render(table, "yaml"), HasSubstr("- Cluster: \"demo\"\n  Member: \"pg1\"\n"));
}

TEST(Table, OptionalColumnsAndTrailers) {
  auto out = document();
  out["members"].as_array()[1].as_object()["tags"] = boost::json::object{{"nofailover", true}};
  out["members"].as_array()[1].as_object()["pending_restart"] = true;
  out["pause"] = true;
  out["scheduled_switchover"] = {{"at", "2026-11-23T00:00:00+00:00"}, {"to", "pg2"}};
  auto text = render(member_table(out, "demo", "uninitialized", false), "pretty");
  EXPECT_THAT(text, HasSubstr("| Pending restart | Tags "));
  EXPECT_THAT(text, HasSubstr("{\"nofailover\":true}"));
  EXPECT_THAT(text,
              HasSubstr("\n Maintenance mode: on\n Switchover scheduled at: 2026-11-23T00:00"));
  EXPECT_THAT(text, HasSubstr("\n                      to: pg2\n"));
}

TEST(Table, StandardPortsOnHostsOfTheirOwnAreLeftOut) {
  auto out = document();
  for (auto& member : out["members"].as_array()) member.as_object()["port"] = 5432;
  out["members"].as_array()[0].as_object()["host"] = "10.0.0.1";
  EXPECT_THAT(render(member_table(out, "demo", "1", false), "pretty"), HasSubstr("| 10.0.0.1  |"));
}

TEST(Table, AnEmptyClusterIsAnEmptyTable) {
  auto empty = boost::json::parse(R"({"members":[]})").as_object();
  auto table = member_table(empty,
                            "a-cluster-with-a-name-that-is-very-long-indeed-and-longer-still"
                            "-than-the-whole-table-is-wide",
                            "uninitialized", false);
  EXPECT_THAT(render(table, "pretty"), HasSubstr("+ Cluster: a-cluster-with"));
  EXPECT_EQ(render(table, "json"), "[]\n");
  EXPECT_EQ(render(table, "yaml"), "[]\n");
}

}  // namespace
}  // namespace pgsteady::cli
