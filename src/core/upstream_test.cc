#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

// A standby of pg2, with pg3 streaming beside it, and these tags of its own.
Case tagged(boost::json::object tags) {
  auto c = Case().follows();
  c.self.tags.values = std::move(tags);
  c.seen.dcs.cluster.members[2].replication_state = "streaming";
  c.seen.dcs.cluster.members[0].tags = c.self.tags;
  c.state.upstream->slot = c.self.tags.replicatefrom().empty();
  return c;
}

Case empty_node() {
  auto c = tagged({}).stopped("");
  c.seen.server.control.reset();
  c.seen.server.data = DataDirectory::empty;
  return c;
}

TEST(Upstream, ReplicatefromNamesAnotherReplica) {
  auto c = tagged({{"replicatefrom", "pg3"}});
  auto decision = c.decide();
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_EQ(find<Reconfigure>(decision)->upstream->name, "pg3");
  EXPECT_TRUE(find<Reconfigure>(decision)->upstream->slot) << "pg3 keeps one";
}

TEST(Upstream, ItIsTheLeaderWhenThatReplicaIsNoUse) {
  struct Row {
    const char* what;
    void (*change)(Case&);
  };
  const Row rows[] = {
      {"down", [](Case& c) { c.seen.dcs.cluster.members[2].state = "stopped"; }},
      {"gone",
       [](Case& c) {
         c.seen.dcs.cluster.members.resize(2);
         c.state.upstream->slot = true;
       }},
      {"gets nothing", [](Case& c) { c.seen.dcs.cluster.members[2].replication_state.clear(); }},
      {"another timeline", [](Case& c) { c.seen.dcs.cluster.members[2].timeline = 7; }},
      {"gave nothing", [](Case& c) { c.state.cascade_failed_at = c.now.boot - 10s; }},
      {"streams from here",
       [](Case& c) {
         c.seen.dcs.cluster.members[2].tags.values = {{"replicatefrom", "pg1"}};
       }},
  };
  for (const auto& row : rows) {
    auto c = tagged({{"replicatefrom", "pg3"}});
    row.change(c);
    EXPECT_FALSE(find<Reconfigure>(c.decide())) << row.what;
  }
}

TEST(Upstream, AReplicaThatGivesNothingIsLeftForTheLeader) {
  auto c = tagged({{"replicatefrom", "pg3"}});
  c.state.upstream = UpstreamMember{"pg3", HostPort{"10.0.0.3", 5432}};
  c.seen.server.upstream = "10.0.0.3:5432";
  c.seen.dcs.cluster.members[1].xlog_location = Lsn{5000};
  c.state.stall = Stall{Lsn{1000}, at(90s)};
  auto decision = c.decide();
  EXPECT_FALSE(find<AskForWal>(decision));
  c.state = decision.state;
  decision = c.decide();
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_EQ(find<Reconfigure>(decision)->upstream->name, "pg2");
  EXPECT_FALSE(find<Reconfigure>(decision)->upstream->slot) << "pg2 keeps none meanwhile";
}

TEST(Upstream, NostreamStreamsFromNobody) {
  auto c = tagged({{"nostream", true}});
  auto decision = c.decide();
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_FALSE(find<Reconfigure>(decision)->upstream);
  c.state = decision.state;
  c.seen.server.upstream.clear();
  c.seen.dcs.cluster.members[1].xlog_location = Lsn{5000};
  c.state.stall = Stall{Lsn{1000}, at(90s)};
  decision = c.decide();
  EXPECT_FALSE(find<Reconfigure>(decision));
  EXPECT_FALSE(find<AskForWal>(decision));
}

TEST(Upstream, ClonefromSparesTheLeader) {
  auto c = empty_node();
  EXPECT_EQ(find<Clone>(c.decide())->from.name, "pg2");
  c.seen.dcs.cluster.members[2].tags.values = {{"clonefrom", true}};
  EXPECT_EQ(find<Clone>(c.decide())->from.name, "pg3");
  c.state.clone.failures = 1;
  EXPECT_EQ(find<Clone>(c.decide())->from.name, "pg2") << "the other one failed";
  c.state.clone.failures = 0;
  auto counted_on = c;
  counted_on.seen.dcs.cluster.config->synchronous_mode = SynchronousMode::on;
  counted_on.seen.dcs.cluster.sync = SyncState{"pg2", {"pg1"}, 0};
  EXPECT_EQ(find<Clone>(counted_on.decide())->from.name, "pg2") << "pg3 may lack commits";
  c.seen.dcs.cluster.members[2].replication_state.clear();
  EXPECT_EQ(find<Clone>(c.decide())->from.name, "pg2") << "pg3 is out of date";
}

std::vector<MemberName> slots(const Case& c) {
  auto decision = c.decide();
  const auto* sync = find<SyncSlots>(decision);
  return sync ? sync->members : std::vector<MemberName>{"not synced"};
}

using Names = std::vector<MemberName>;

TEST(Upstream, TheLeaderKeepsSlotsForThoseThatAreToStreamFromIt) {
  auto c = Case();
  auto& members = c.seen.dcs.cluster.members;
  EXPECT_EQ(slots(c), (Names{"pg2", "pg3"}));
  members[1].tags.values = {{"replicatefrom", "pg3"}};
  EXPECT_EQ(slots(c), Names{"pg3"});
  members[0].tags.values = {{"replicatefrom", "pg2"}};
  members[1].tags.values = {{"replicatefrom", "pg1"}};
  EXPECT_EQ(slots(c), (Names{"pg2", "pg3"})) << "a leader's own tag does not count";
  members[1].tags.values = {{"replicatefrom", "pg9"}};
  EXPECT_EQ(slots(c), (Names{"pg2", "pg3"})) << "there is no pg9";
  members[2].tags.values = {{"nostream", true}};
  EXPECT_EQ(slots(c), Names{"pg2"});
  c.seen.dcs.cluster.config->use_slots = false;
  EXPECT_EQ(slots(c), Names{});
}

TEST(Upstream, AMemberThatMovesToAReplicaLeavesNoSlotBehind) {
  auto c = Case();
  c.state = c.decide().state;
  c.seen.dcs.cluster.members[1].tags.values = {{"replicatefrom", "pg3"}};
  EXPECT_EQ(slots(c), Names{"pg3"});
}

TEST(Upstream, AReplicaKeepsSlotsForThoseWhoseTagNamesIt) {
  auto c = tagged({});
  auto& members = c.seen.dcs.cluster.members;
  EXPECT_EQ(slots(c), Names{});
  members[1].tags.values = {{"replicatefrom", "pg1"}};
  EXPECT_EQ(slots(c), Names{}) << "pg2 leads";
  members[2].tags.values = {{"replicatefrom", "pg1"}};
  EXPECT_EQ(slots(c), Names{"pg3"});
  c.seen.dcs.cluster.config->pause = true;
  EXPECT_EQ(slots(c), Names{"pg3"}) << "in a pause, too";
  c.seen.dcs.cluster.config->pause = false;
  members[0].tags.values = {{"replicatefrom", "pg3"}};
  EXPECT_EQ(slots(c), Names{}) << "they name each other";
}

TEST(Upstream, SlotsAreLookedAfterWhenTheServerWasStartedAnew) {
  auto c = tagged({});
  c.seen.dcs.cluster.members[2].tags.values = {{"replicatefrom", "pg1"}};
  c.state = c.decide().state;
  c.now.boot += 1s;
  c.seen.dcs.read_at = c.now.boot;
  EXPECT_EQ(slots(c), Names{"not synced"});
  c.state = c.stopped("shut down in recovery").decide().state;
  c.running_standby();
  EXPECT_EQ(slots(c), Names{"pg3"});
}

TEST(Upstream, ASlotOutlivesItsMembersAbsence) {
  auto c = tagged({});
  c.seen.dcs.cluster.members[2].tags.values = {{"replicatefrom", "pg1"}};
  c.state = c.decide().state;
  c.seen.dcs.cluster.members.resize(2);
  c.now.boot += 90s;
  c.seen.dcs.read_at = c.now.boot;
  EXPECT_EQ(slots(c), Names{"pg3"});
}

TEST(Upstream, OfEqualNodesTheOneWithTheHigherPriorityLeads) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.peers->peers[0].failover_priority = 2;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.self.tags.values = {{"failover_priority", 2}};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.self.tags.values = {};
  c.seen.peers->peers[0].lsn = Lsn{999};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire)) << "WAL comes before priority";
}

}  // namespace
}  // namespace pgsteady::core::testing
