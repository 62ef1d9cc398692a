// maximum_lag_on_failover: whom it keeps out, and that it never does for ever.
#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

// pg2 led and is gone; pg1 and pg3 have far less than its optime.
Case behind() {
  auto c = Case().leaderless().peer("pg3", Lsn{900});
  c.seen.dcs.cluster.status = ClusterStatus{Lsn{1 << 30}, {}};
  c.seen.dcs.cluster.status_revision = 95;  // after the key of pg2, which is 90
  c.state.other_leader = "pg2";
  c.state.other_leader_served_since = at(10s);
  return c;
}

TEST(Lag, WhoIsFarBehindTheLastLeaderDoesNotLead) {
  auto c = behind();
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  EXPECT_TRUE(says(c.decide(), "maximum_lag_on_failover is 1048576"));
  c.seen.dcs.cluster.config->maximum_lag_on_failover_bytes = 1 << 30;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

// The limit holds against what the last leader wrote of itself, not against a figure of another
// time, which nobody may ever reach.
TEST(Lag, APositionThatTheLastLeaderNeverWroteBlocksNobody) {
  auto c = behind();
  c.seen.dcs.cluster.status_revision = 80;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.state.other_leader_served_since = at(88s);
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "it had no time to write its own";
  c.state.other_leader_served_since.reset();
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "it may not have served at all";
}

TEST(Lag, ServingIsCountedFromThePrimarysOwnWord) {
  auto c = Case().follows();
  c.seen.dcs.cluster.members[1].state = "starting";
  EXPECT_FALSE(c.decide().state.other_leader_served_since);
  c.seen.dcs.cluster.members[1].state = "running";
  c.state = c.decide().state;
  EXPECT_EQ(c.state.other_leader_served_since, c.now.boot);
  c.now.boot += 5s;
  EXPECT_EQ(c.decide().state.other_leader_served_since, at(100s));
  c.seen.dcs.cluster.leader->mod_revision = 150;
  EXPECT_EQ(c.decide().state.other_leader_served_since, c.now.boot) << "another holding";
}

// The writer of the optime crashed with its host and came back with less than it had written.
TEST(Lag, WalThatNobodyHasBlocksNobody) {
  auto c = behind().peer("pg2", Lsn{950});
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  EXPECT_TRUE(says(c.decide(), "nobody has"));
  struct Row {
    const char* what;
    void (*change)(PeerFigure& pg2);
  };
  const Row rows[] = {
      {"no answer", [](PeerFigure& pg2) { pg2.answered = false; }},
      {"its server is down", [](PeerFigure& pg2) { pg2.running = false; }},
      {"it has more", [](PeerFigure& pg2) { pg2.lsn = Lsn{1001}; }},
      {"it may not lead, and has more",
       [](PeerFigure& pg2) { pg2.nofailover = true, pg2.lsn = Lsn{1001}; }},
  };
  for (const auto& row : rows) {
    auto other = c;
    row.change(other.seen.peers->peers[1]);
    EXPECT_FALSE(find_txn(other.decide(), TxnKind::acquire)) << row.what;
  }
}

TEST(Lag, FiguresFromBeforeTheEndCountWhenTheyMustHaveBeenTakenAnew) {
  auto c = behind().peer("pg2", Lsn{950});
  c.seen.peers->peers[1].nofailover = true;  // it takes no part, so it shows no figure for a race
  c.seen.peers->peers[1].leaderless_revision = 0;
  c.seen.dcs.cluster.config->loop_wait = 10s;
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.config->loop_wait = 1s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

// All nodes lost their power: a single one, and one of a cluster whose other members are not back.
TEST(Lag, ALoneNodeLeadsAgainWithWhatItHas) {
  auto c = behind();
  c.seen.dcs.cluster.members.resize(1);
  c.seen.dcs.cluster.failsafe = FailsafeMembers{{"pg1", "u"}};
  c.state.other_leader.clear();
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  (*c.seen.dcs.cluster.failsafe)["pg2"] = "u";
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(Lag, WithoutTheListOfMembersTheHistoryTellsWhoLed) {
  auto c = behind().peer("pg2", Lsn{950});
  c.seen.dcs.cluster.failsafe.reset();
  c.seen.dcs.cluster.failsafe_revision = 0;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.seen.dcs.cluster.history = {{1, Lsn{50}, "", "", "pg4"}};
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "pg4 may have it";
  c.seen.dcs.cluster.history.clear();
  c.state.other_leader.clear();
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "nobody knows who led";
}

}  // namespace
}  // namespace pgsteady::core::testing
