#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

// A standby of pg2 whose server has just failed to start for the third time.
Case broken(std::string complaint = "PANIC:  could not locate a valid checkpoint record") {
  auto c = Case().follows().stopped("shut down in recovery");
  c.state.start.failures = 3;
  c.seen.server.complaint = std::move(complaint);
  return c;
}

// A standby that runs and gets nothing, for as long as it takes to ask; pg2 is ahead.
Case starved(std::chrono::milliseconds since = 90s) {
  auto c = Case().follows();
  c.seen.server.receiver_state.clear();
  c.seen.dcs.cluster.members[1].xlog_location = Lsn{5000};
  c.state.stall = Stall{Lsn{1000}, at(since)};
  return c;
}

TEST(Recovery, AReplicaThatDoesNotStartIsClonedAnew) {
  auto decision = broken().decide();
  ASSERT_TRUE(find<Clone>(decision));
  EXPECT_NE(find<Clone>(decision)->why.find("could not locate"), std::string::npos);
  EXPECT_FALSE(find<StartServer>(decision));
  auto twice = broken();
  twice.state.start.failures = 2;
  EXPECT_FALSE(find<Clone>(twice.decide()));
  EXPECT_TRUE(find<StartServer>(twice.decide()));
}

TEST(Recovery, ALeaderNeverIs) {
  auto c = Case().stopped("shut down in recovery");
  c.state.start.failures = 9;
  c.state.reclone_why = "proven";
  c.state.reclone_for = "pg1";
  EXPECT_FALSE(find<Clone>(c.decide()));
  c.seen.dcs.cluster.leader.reset();
  c.no_lock();
  EXPECT_FALSE(find<Clone>(c.decide()));
}

TEST(Recovery, OnlyFromALeaderThatServes) {
  auto c = broken();
  c.seen.dcs.cluster.members[1].state = "starting";
  EXPECT_FALSE(find<Clone>(c.decide()));
}

TEST(Recovery, WhatOtherDataWouldNotMendIsNoReason) {
  for (const char* complaint :
       {"FATAL:  could not bind IPv4 address \"127.0.0.1\": Address already in use",
        "FATAL:  could not write lock file \"postmaster.pid\": No space left on device",
        "FATAL:  could not create shared memory segment: Invalid argument"}) {
    auto decision = broken(complaint).decide();
    EXPECT_FALSE(find<Clone>(decision)) << complaint;
    EXPECT_TRUE(find<StartServer>(decision)) << complaint;
    EXPECT_TRUE(says(decision, "would not help")) << complaint;
  }
}

TEST(Recovery, ClonesAreFewInADay) {
  struct Row {
    std::vector<std::chrono::seconds> ago;
    bool clones;
  };
  const Row rows[] = {
      {{}, true},
      {{30s}, false},
      {{61s}, true},
      {{1000s, 590s}, false},
      {{1000s, 601s}, true},
      {{9000s, 8000s, 7000s}, false},
      {{90000s, 8000s, 7000s}, true},
      {{90000s, 89000s, 88000s}, true},
      {{-50s}, false},  // the wall clock was set back
  };
  for (const auto& row : rows) {
    auto c = broken();
    for (auto ago : row.ago) c.seen.reclones.push_back(c.now.wall - ago);
    auto decision = c.decide();
    EXPECT_EQ(find<Clone>(decision) != nullptr, row.clones) << row.ago.size();
    EXPECT_EQ(find<StartServer>(decision) != nullptr, !row.clones) << row.ago.size();
    if (row.ago.size() == 3 && !row.clones) {
      EXPECT_TRUE(says(decision, "hint: "));
    }
  }
}

TEST(Recovery, ARefusedCloneMeansThreeMoreStarts) {
  auto c = broken();
  c.seen.job_ends = {{JobKind::clone, false, true, "the configuration is wrong"}};
  auto decision = c.decide();
  EXPECT_EQ(decision.state.start.failures, 0);
  EXPECT_FALSE(find<Clone>(decision));
}

TEST(Recovery, StandbysThatEndSoonAfterTheyAnsweredCount) {
  auto c = Case().follows();
  for (int life = 0; life < 3; ++life) {
    c.running_standby();
    c.seen.server.complaint.clear();
    c.state = c.decide().state;
    c.later(5s);
    c.stopped("shut down in recovery");
    c.seen.server.complaint = "PANIC:  WAL contains references to invalid pages";
    auto decision = c.decide();
    EXPECT_EQ(find<Clone>(decision) != nullptr, life == 2) << life;
    c.state = decision.state;
    c.later(1s);
  }
}

TEST(Recovery, AStandbyThatWasStoppedOrKilledDidNotFail) {
  auto c = Case().follows();
  c.state = c.decide().state;
  c.stopped("shut down in recovery");
  EXPECT_EQ(c.decide().state.short_lives, 0) << "no complaint";
  c.seen.server.complaint = "FATAL:  something";
  EXPECT_EQ(c.decide().state.short_lives, 1);
  c.seen.guard.phase = ServerPhase::killing;
  c.state = c.decide().state;
  c.seen.guard.phase = ServerPhase::none;
  EXPECT_EQ(c.decide().state.short_lives, 0);
}

TEST(Recovery, AStandbyThatGetsNothingAsksTheLeader) {
  auto c = starved();
  auto decision = c.decide();
  ASSERT_TRUE(find<AskForWal>(decision));
  EXPECT_EQ(find<AskForWal>(decision)->lsn, Lsn{1000});
  EXPECT_EQ(find<AskForWal>(decision)->from.name, "pg2");
  EXPECT_FALSE(find<StopServer>(decision));
  c.seen.wal_asked = true;
  EXPECT_FALSE(find<AskForWal>(c.decide()));
  EXPECT_FALSE(find<AskForWal>(starved(98s).decide())) << "not for long enough";
}

TEST(Recovery, ItDoesNotAskWhileThereIsNothingToGet) {
  auto same = starved();
  same.seen.dcs.cluster.members[1].xlog_location = Lsn{1000};
  EXPECT_FALSE(find<AskForWal>(same.decide()));
  auto paused = starved();
  paused.seen.server.replay_paused = true;
  EXPECT_FALSE(find<AskForWal>(paused.decide()));
  auto busy = starved();
  busy.seen.server.replaying = true;
  EXPECT_FALSE(find<AskForWal>(busy.decide()));
  auto moved = starved();
  moved.seen.server.receive_lsn = Lsn{1001};
  EXPECT_FALSE(find<AskForWal>(moved.decide()));
}

TEST(Recovery, WithoutItsWalAStandbyIsStoppedAndCloned) {
  auto c = starved();
  c.seen.wal_answer = WalAnswer{at(99s), Lsn{1000}, true};
  EXPECT_FALSE(find<StopServer>(c.decide()));
  c.seen.wal_answer->present = false;
  c.seen.server.measured_at = at(98s).time_since_epoch();
  EXPECT_FALSE(find<StopServer>(c.decide())) << "it may have come in since";
  c.seen.server.measured_at = at(99500ms).time_since_epoch();
  c.seen.reclones = {c.now.wall - 5s};
  EXPECT_FALSE(find<StopServer>(c.decide())) << "it serves reads until it may be cloned";
  c.seen.reclones.clear();
  auto decision = c.decide();
  ASSERT_TRUE(find<StopServer>(decision));
  c.state = decision.state;
  c.stopped("shut down in recovery");
  decision = c.decide();
  ASSERT_TRUE(find<Clone>(decision));
  EXPECT_NE(find<Clone>(decision)->why.find("no longer has the WAL"), std::string::npos);
  c.follows("pg3").stopped("shut down in recovery");
  EXPECT_FALSE(find<Clone>(c.decide())) << "nothing is proven against another leader";
}

TEST(Recovery, AStartThatWaitsForWalThatIsGone) {
  auto c = Case().follows();
  c.seen.server.state = ServerState::starting;
  EXPECT_FALSE(find<StopServer>(c.decide()));
  c.seen.server.complaint =
      "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment "
      "000000010000000000000003 has already been removed";
  EXPECT_TRUE(find<StopServer>(c.decide()));
}

TEST(Recovery, AStartThatGetsNowhereForALongTime) {
  auto c = Case().follows();
  c.seen.server.state = ServerState::starting;
  c.seen.server.recovering = "0000000000000003";
  c.seen.server.refusal =
      "FATAL:  could not start WAL streaming: ERROR:  requested starting point 0/3000000 on "
      "timeline 2 is not in this server's history";
  auto stuck = [&](auto change) {
    auto changed = c;
    changed.state = changed.decide().state;
    changed.later(20s);
    changed.seen.server.refused_at = 500;
    change(changed.seen.server);
    changed.state = changed.decide().state;
    changed.later(11s);
    return find<StopServer>(changed.decide()) != nullptr;
  };
  EXPECT_TRUE(stuck([](LocalServer&) {}));
  EXPECT_FALSE(stuck([](LocalServer& server) { server.recovering = "0000000000000004"; }));
  EXPECT_FALSE(stuck([](LocalServer& server) { server.receiving = true; }));
  EXPECT_FALSE(stuck([](LocalServer& server) { server.recovering.clear(); })) << "not known";
  EXPECT_FALSE(stuck([](LocalServer& server) { server.refusal.clear(); })) << "nobody is asked";
  EXPECT_FALSE(stuck([](LocalServer& server) { server.refused_at = 0; })) << "once, long ago";
}

TEST(Recovery, AnUnreadableControlFileIsWaitedForAndThenCloned) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.server.control.reset();
  auto decision = c.decide();
  EXPECT_TRUE(decision.measure_now);
  EXPECT_FALSE(find<Clone>(decision));
  c.state = decision.state;
  c.later(11s);
  EXPECT_TRUE(find<Clone>(c.decide()));
}

TEST(Recovery, SlotsWhoseWalIsLostAreMadeAnew) {
  auto c = Case();
  c.state.slot_members = {{"pg2", c.now.boot}, {"pg3", c.now.boot}};
  c.state.synced_slots = {"pg2", "pg3"};
  c.state.slots_synced_at = at(90s);
  EXPECT_FALSE(find<SyncSlots>(c.decide()));
  SlotRow slot;
  slot.name = "pg2";
  slot.lost = true;
  c.seen.server.slots = {slot};
  EXPECT_TRUE(find<SyncSlots>(c.decide()));
}

}  // namespace
}  // namespace pgsteady::core::testing
