#include "core/sync.h"

#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

using Names = std::set<MemberName>;

SyncConfig all_of(Names names) {
  auto count = static_cast<int>(names.size());
  return {std::move(names), count};
}

TEST(SyncSets, TheKeyNeverPromisesMoreThanWasWaitedFor) {
  auto least = [](const SyncConfig& config, const Names& names) {
    return least_quorum(config, config, names);
  };
  EXPECT_EQ(least(all_of({"a", "b"}), {"a", "b"}), 0);
  EXPECT_EQ(least({{"a", "b", "c"}, 1}, {"a", "b", "c"}), 2);
  EXPECT_EQ(least({{"a", "b", "c"}, 2}, {"a", "b"}), 1);
  EXPECT_EQ(least(all_of({"a"}), {"a", "b"}), 1) << "nobody waited for b";
  EXPECT_TRUE(keeps({}, {}, {}));
  EXPECT_FALSE(keeps({}, {}, {{"a"}, 0}));
}

// Each pair of configuration and voters that keeps() accepts, against all that could happen.
TEST(SyncSets, AmongQuorumAndOneThereIsOneThatFlushed) {
  const std::vector<MemberName> nodes = {"a", "b", "c", "d"};
  auto subset = [&](unsigned bits) {
    Names names;
    for (unsigned i = 0; i < 4; ++i) {
      if (bits & (1u << i)) names.insert(nodes[i]);
    }
    return names;
  };
  auto size = [](unsigned bits) { return __builtin_popcount(bits); };
  for (unsigned names = 0; names < 16; ++names) {
    for (int wait_for = names ? 1 : 0; wait_for <= size(names); ++wait_for) {
      for (unsigned voters = 1; voters < 16; ++voters) {
        SyncConfig config{subset(names), wait_for};
        int quorum = least_quorum(config, config, subset(voters));
        for (unsigned flushed = 0; flushed < 16; ++flushed) {
          if ((flushed & ~names) || size(flushed) < wait_for) continue;
          for (unsigned seen = 0; seen < 16; ++seen) {
            if ((seen & ~voters) || size(seen) != quorum + 1) continue;
            EXPECT_TRUE(seen & flushed) << names << " " << wait_for << " " << voters;
          }
        }
      }
    }
  }
}

TEST(SyncSets, NobodyIsNamedWhoCouldNeverBeElected) {
  EXPECT_EQ(voters_under(all_of({"a"}), all_of({"b"}), {"b"}), SyncVoters{});
  EXPECT_EQ(voters_under(all_of({"a"}), all_of({"b"}), {"a", "b"}), (SyncVoters{{"a", "b"}, 1}));
}

// A walsender that still waits for two of "b" and "c" lets commits go that "a" and "b" have.
TEST(SyncSets, ListsAreReadOneAfterTheOther) {
  const auto two = all_of({"b", "c"}), three = all_of({"a", "b", "c"});
  EXPECT_FALSE(keeps(two, three, {{"b", "c"}, 0}));
  EXPECT_TRUE(keeps(two, three, {{"b", "c"}, 1}));
  EXPECT_FALSE(keeps(three, two, {{"b", "c"}, 0}));
  EXPECT_FALSE(keeps(two, {}, {{"b", "c"}, 1})) << "then nobody is waited for";
  const auto one = all_of({"b"});
  EXPECT_TRUE(keeps(one, two, {{"b"}, 0})) << "who alone is waited for always has it";
  EXPECT_EQ(voters_under(two, one, {"b"}), (SyncVoters{{"b"}, 0}));
  EXPECT_EQ(voters_under({{"b", "c"}, 1}, one, {"b"}), SyncVoters{});
}

TEST(SyncSets, TextIsReadAsItIsWritten) {
  for (const auto& config : {all_of({"a"}), all_of({"a", "b-1"}), SyncConfig{{"a", "b\"x,y"}, 1}}) {
    EXPECT_EQ(parse_sync_names(sync_names_text(config, "")), config);
  }
  EXPECT_EQ(sync_names_text(all_of({"a", "b"}), ""), "2 (\"a\",\"b\")");
  EXPECT_EQ(sync_names_text({{"a", "b"}, 1}, ""), "ANY 1 (\"a\",\"b\")");
  EXPECT_EQ(sync_names_text({}, "*"), "*");
  EXPECT_EQ(parse_sync_names("*"), SyncConfig{});
  for (const char* other :
       {"a", "1 (a)", "ANY 3 (\"a\")", "1 (\"a\",\"b\")", "1 (\"a)", "FIRST 1 (\"a\")"}) {
    EXPECT_FALSE(parse_sync_names(other)) << other;
  }
}

// pg1 leads with synchronous_mode on; pg2 and pg3 stream.
struct SyncCase : Case {
  explicit SyncCase(std::string_view mode = "on") {
    seen.dcs.cluster.config = dynamic_config_from_object({{"ttl", 5}, {"synchronous_mode", mode}});
    key({});
    for (const char* name : {"pg2", "pg3"}) {
      ReplicationRow row;
      row.application_name = name;
      row.state = "streaming";
      row.sync_state = "async";
      row.flush_lsn = Lsn{1000};
      seen.server.replication.push_back(row);
    }
    state.late_sync_change.replaces = 0;
    state.sync.config = SyncConfig{};
    state.sync.in_force_since = at(90s);
    state.sync.settled = Lsn{500};
    seen.server.checkpointer_waits = true;
  }
  void key(Names standbys, int quorum = 0, MemberName leader = "pg1") {
    seen.dcs.cluster.sync = SyncState{std::move(leader), std::move(standbys), quorum};
    seen.dcs.cluster.sync_revision = 7;
  }
  void waits_for(SyncConfig config) {
    seen.server.sync_names = sync_names_text(config, "");
    for (auto& row : seen.server.replication) {
      bool any = config.wait_for < static_cast<int>(config.names.size());
      row.sync_state =
          config.names.count(row.application_name) ? (any ? "quorum" : "sync") : "async";
    }
    state.sync.config = std::move(config);
  }
  Names written() const {
    auto decision = decide();
    const auto* txn = find_txn(decision, TxnKind::sync);
    if (!txn) return {"nothing"};
    return parse_cluster({KeyValue{"sync", txn->operations[0].value}}, 1).sync->standbys;
  }
};

TEST(Sync, ANewPrimaryNamesItselfBeforeItIsPromoted) {
  SyncCase c;
  c.key({"pg1", "pg3"}, 0, "pg2");
  c.running_standby();
  auto decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::sync));
  EXPECT_FALSE(find<Promote>(decision));
  c.key({});
  decision = c.decide();
  EXPECT_TRUE(find<Promote>(decision));
}

TEST(Sync, AStandbyIsWaitedForBeforeItIsNamed) {
  SyncCase c;
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::sync));
  ASSERT_TRUE(find<Reconfigure>(decision));
  ASSERT_TRUE(decision.state.sync.config);
  EXPECT_EQ(decision.state.sync.config->names.size(), 1u);
  EXPECT_EQ(sync_names_for_file(decision.state, c.seen.dcs.cluster.settings()),
            sync_names_text(*decision.state.sync.config, ""));
}

TEST(Sync, WhatASessionSeesIsNotYetInForceForAll) {
  SyncCase c;
  c.waits_for(all_of({"pg2"}));
  c.state.sync.in_force_since.reset();
  c.state.sync.settled.reset();
  c.state.sync.written_at = at(99900ms);
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::sync)) << "seen a moment ago";
  c.state = decision.state;
  c.now.boot = at(101500ms);
  c.seen.lease.held_until = c.seen.guard.deadline = at(105s);
  c.seen.server.measured_at = at(101400ms).time_since_epoch();
  c.seen.server.checkpointer_waits = false;
  decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::sync)) << "the checkpointer may not have taken it";
  c.seen.server.checkpointer_waits = true;
  c.seen.server.write_lsn = Lsn{2000};
  decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::sync)) << "not caught up with that moment";
  c.state = decision.state;
  c.seen.server.replication[0].flush_lsn = Lsn{2000};
  EXPECT_EQ(c.written(), Names{"pg2"});
  c.seen.server.sync_names = "";
  EXPECT_EQ(c.written(), Names{"nothing"}) << "somebody took it back";
}

TEST(Sync, AStandbyThatIsLostLeavesTheKeyBeforeItIsNotWaitedFor) {
  SyncCase c;
  c.waits_for(all_of({"pg2"}));
  c.key({"pg2"});
  EXPECT_EQ(c.written(), Names{"nothing"}) << "all is well";
  c.seen.server.replication.erase(c.seen.server.replication.begin());
  EXPECT_EQ(c.written(), Names{});
  EXPECT_FALSE(find<Reconfigure>(c.decide()));
  c.key({});
  auto decision = c.decide();
  EXPECT_TRUE(find<Reconfigure>(decision));
  EXPECT_EQ(decision.state.sync.config, all_of({"pg3"}));
}

// What was asked for goes by what the server waited for then.
TEST(Sync, AChangeOfTheKeyThatMayStillHappenComesBeforeTheConfiguration) {
  SyncCase c;
  c.waits_for(all_of({"pg3"}));
  c.key({});
  c.seen.server.replication.pop_back();  // pg3 is lost, and pg2 is there
  c.state.late_sync_change = {7, c.now.boot + 10s};
  c.seen.transactions = {TxnKind::sync};
  auto decision = c.decide();
  EXPECT_FALSE(find<Reconfigure>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::sync)) << "it is under way";
  c.seen.transactions.clear();
  EXPECT_FALSE(find<Reconfigure>(c.decide()));
  EXPECT_EQ(c.written(), Names{}) << "which the other one fails by";
  auto answered = c;
  answered.seen.txn_ends = {{TxnKind::sync, true, false, true, 8, 0}};
  answered.seen.dcs.cluster.revision = 1000;
  EXPECT_TRUE(find<Reconfigure>(answered.decide()));
  auto seen = c;
  seen.seen.dcs.cluster.sync_revision = 8;
  EXPECT_TRUE(find<Reconfigure>(seen.decide())) << "it has happened, or never will";
  auto late = c;
  late.later(11s);
  late.seen.guard.deadline = late.seen.lease.held_until.emplace(late.now.boot + 3s);
  late.seen.dcs.read_at = late.now.boot - 2s;
  EXPECT_FALSE(find<Reconfigure>(late.decide())) << "read before it was over";
  late.seen.dcs.read_at = late.now.boot;
  EXPECT_TRUE(find<Reconfigure>(late.decide()));
}

TEST(Sync, APrimaryIsStartedWhenItIsSureWhomItWaitedFor) {
  SyncCase c;
  c.key({"pg2"});
  c.state.sync = {};
  c.state.late_sync_change = {};
  c.state.began_at = c.now.boot - 1s;
  c.stopped("in production");
  auto decision = c.decide();
  EXPECT_FALSE(find<StartServer>(decision));
  EXPECT_TRUE(find_txn(decision, TxnKind::sync));
  auto sure = c;
  sure.state.late_sync_change.replaces = 0;
  decision = sure.decide();
  EXPECT_TRUE(find<StartServer>(decision));
  EXPECT_EQ(decision.state.sync.config, all_of({"pg2"}));
  sure.seen.dcs.reachable = false;
  EXPECT_FALSE(find<StartServer>(sure.decide())) << "the key may say more by now";
}

TEST(Sync, SwitchedOffTheNamesStayUntilTheKeyIsGone) {
  State state;
  DynamicConfig off;
  EXPECT_EQ(sync_names_for_file(state, off), std::nullopt);
  state.sync.config = all_of({"pg2"});
  EXPECT_EQ(sync_names_for_file(state, off), sync_names_text(all_of({"pg2"}), ""));
  SyncCase c("off");
  c.waits_for(all_of({"pg2"}));
  c.key({"pg2"});
  c.state.sync = {};
  c.seen.dcs.cluster.config_revision = c.state.applied_config + 1;
  auto decision = c.decide();
  EXPECT_EQ(decision.state.sync.config, all_of({"pg2"})) << "a new agent finds what the server has";
}

TEST(Sync, TagsAndLagKeepAStandbyOut) {
  SyncCase c;
  c.seen.dcs.cluster.members[1].tags.values["nosync"] = true;
  EXPECT_EQ(c.decide().state.sync.config, all_of({"pg3"}));
  c.seen.dcs.cluster.members[1].tags.values = {{"sync_priority", 5}};
  EXPECT_EQ(c.decide().state.sync.config, all_of({"pg2"}));
  c.seen.server.replication[0].flush_lsn = Lsn{10};
  c.seen.dcs.cluster.config->maximum_lag_on_syncnode_bytes = 100;
  EXPECT_EQ(c.decide().state.sync.config, all_of({"pg3"}));
}

TEST(Sync, WithoutAStandbyStrictModeAcknowledgesNothing) {
  SyncCase c;
  c.seen.server.replication.clear();
  const auto& settings = c.seen.dcs.cluster.settings();
  EXPECT_EQ(sync_names_for_file(c.decide().state, settings), "");
  c.seen.dcs.cluster.config->synchronous_mode_strict = true;
  EXPECT_EQ(sync_names_for_file(c.decide().state, settings), "*");
  EXPECT_EQ(sync_names_for_file(State{}, settings), "*") << "also before a promotion";
}

TEST(Sync, QuorumNamesAllWhoMayVote) {
  SyncCase c("quorum");
  EXPECT_EQ(c.decide().state.sync.config, (SyncConfig{{"pg2", "pg3"}, 1}));
  c.waits_for({{"pg2", "pg3"}, 1});
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::sync);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0].value, R"({"leader":"pg1","quorum":1,"sync_standby":"pg2,pg3"})");
}

TEST(Sync, AQuorumIsOfThoseThatKnowWhatItIs) {
  for (const char* version : {"3.0.2", "", "x", ".4"}) {
    SyncCase c("quorum");
    c.waits_for({});
    c.seen.dcs.cluster.members[2].version = version;
    auto decision = c.decide();
    EXPECT_EQ(decision.state.sync.config, all_of({"pg2"})) << version;
    EXPECT_TRUE(says(decision, "not waiting for pg3: their Patroni is older than 4.0")) << version;
  }
  SyncCase c;
  c.waits_for({});
  c.seen.dcs.cluster.members[1].version = c.seen.dcs.cluster.members[2].version = "3.0.2";
  auto decision = c.decide();
  EXPECT_EQ(decision.state.sync.config->names.size(), 1u);
  EXPECT_FALSE(says(decision, "not waiting for"));
}

// pg3 may have been the one that flushed; pg2 alone is trusted when it has caught up.
TEST(Sync, AQuorumSinksWhenAllWhoAreLeftHaveEverything) {
  SyncCase c("quorum");
  c.key({"pg2", "pg3"}, 1);
  c.waits_for(all_of({"pg2"}));
  c.seen.server.replication.pop_back();
  c.seen.server.replication[0].flush_lsn = Lsn{400};
  EXPECT_EQ(c.written(), Names{"nothing"});
  c.seen.server.replication[0].flush_lsn = Lsn{500};
  EXPECT_EQ(c.written(), Names{"pg2"});
}

TEST(Sync, ANewAgentConfiguresWhatTheKeyRestsOn) {
  SyncCase c;
  c.waits_for(all_of({"pg2"}));
  c.key({"pg2"});
  c.state.sync = {};
  c.state.applied_config = -1;
  auto decision = c.decide();
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_EQ(decision.state.sync.config, all_of({"pg2"}));
  c.seen.server.sync_names = "pg2";
  decision = c.decide();
  EXPECT_FALSE(find<Reconfigure>(decision)) << "first the key is emptied";
  EXPECT_TRUE(find_txn(decision, TxnKind::sync));
}

TEST(Sync, SwitchedOffTheKeyGoesFirst) {
  SyncCase c("off");
  c.waits_for(all_of({"pg2"}));
  auto decision = c.decide();
  ASSERT_TRUE(find_txn(decision, TxnKind::sync));
  EXPECT_EQ(find_txn(decision, TxnKind::sync)->operations[0], Operation::remove("sync"));
  EXPECT_FALSE(find<Reconfigure>(decision));
  c.seen.dcs.cluster.sync.reset();
  c.seen.dcs.cluster.sync_revision = 0;
  EXPECT_TRUE(find<Reconfigure>(c.decide()));
}

TEST(Sync, AConfigKeyThatIsGoneTakesNoPromiseBack) {
  SyncCase c;
  c.waits_for(all_of({"pg2"}));
  c.key({"pg2"});
  c.seen.dcs.cluster.config.reset();
  EXPECT_EQ(c.written(), Names{"nothing"});
  auto other = Case().leaderless();
  other.seen.dcs.cluster.config.reset();
  other.seen.dcs.cluster.sync = SyncState{"pg2", {"pg3"}, 0};
  EXPECT_FALSE(find_txn(other.decide(), TxnKind::acquire));
}

TEST(Sync, OnlyWhoIsNamedMayBePromoted) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.dcs.cluster.config = dynamic_config_from_object({{"ttl", 5}, {"synchronous_mode", "on"}});
  c.seen.dcs.cluster.sync = SyncState{"pg2", {"pg3"}, 0};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.sync->standbys = {"pg1"};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.sync = SyncState{"pg1", {"pg3"}, 0};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire)) << "the last leader has all it acknowledged";
}

TEST(Sync, AnOperatorsForcePassesTheKey) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.dcs.cluster.config = dynamic_config_from_object({{"ttl", 5}, {"synchronous_mode", "on"}});
  c.seen.dcs.cluster.sync = SyncState{"pg2", {"pg3"}, 0};
  c.seen.dcs.cluster.failover = FailoverRequest{};
  c.seen.dcs.cluster.failover->candidate = "pg1";
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.failover->force = true;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Sync, WhoIsNotNamedHoldsNobodyUp) {
  auto c = Case().leaderless().peer("pg3", Lsn{2000});
  c.seen.dcs.cluster.config = dynamic_config_from_object({{"ttl", 5}, {"synchronous_mode", "on"}});
  c.seen.dcs.cluster.sync = SyncState{"pg2", {"pg1"}, 0};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.sync->standbys = {"pg1", "pg3"};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.sync->standbys = {"pg1"};
  c.seen.peers->peers[0].primary = true;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Sync, AQuorumHasToBeSeen) {
  auto c = Case().leaderless().peer("pg3", Lsn{1000});
  c.seen.dcs.cluster.config =
      dynamic_config_from_object({{"ttl", 5}, {"synchronous_mode", "quorum"}});
  c.seen.dcs.cluster.sync = SyncState{"pg2", {"pg1", "pg3"}, 1};
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.peers->peers[0].leaderless_revision = 0;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "its figure may grow";
  c.seen.peers->peers[0].answered = false;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

}  // namespace
}  // namespace pgsteady::core::testing
