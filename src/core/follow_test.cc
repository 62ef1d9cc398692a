#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

TEST(Follow, SteadyState) {
  auto decision = Case().follows().decide();
  EXPECT_TRUE(says(decision, "no action. I am (pg1), a secondary, and following a leader (pg2)"));
  ASSERT_TRUE(find<PollLease>(decision));
  EXPECT_EQ(find<PollLease>(decision)->lease, 12);
}

// With a short ttl the end of the lease lies between two ordinary polls.
TEST(Follow, PollsAsSoonAsTheLeadersLeaseIsOverdue) {
  auto c = Case().follows();
  c.seen.dcs.cluster.config = dynamic_config_from_object({{"ttl", 2}});
  c.state.takeover.key_seen({12, 90});
  c.state.last_poll = at(99800ms);
  c.seen.polls = {{12, 0, 2, 1, at(99900ms), at(99998ms)}};
  auto decision = c.decide();
  EXPECT_FALSE(find<PollLease>(decision));
  EXPECT_LE(decision.next_wake, at(100200ms)) << "the lease ends at 101 s at the latest";
  c.state = decision.state;
  c.seen.polls.clear();
  c.now.boot = decision.next_wake;
  EXPECT_TRUE(find<PollLease>(c.decide()));
}

// A host that stood still has an old view of everything.
TEST(Follow, AnOldReadIsMadeAnewBeforeAnythingIsDone) {
  auto c = Case().follows().stopped("shut down in recovery");
  EXPECT_TRUE(find<StartServer>(c.decide()));
  c.now.boot += 60s;
  auto decision = c.decide();
  EXPECT_FALSE(find<StartServer>(decision));
  EXPECT_TRUE(decision.read_now);
}

// Who said that the lease is over may have been deposed: a read has to bear it out.
TEST(Follow, ReadsEtcdBeforePollsAreBelieved) {
  auto c = Case().follows();
  c.state.takeover.key_seen({12, 90});
  c.seen.dcs.term = 1;
  EXPECT_FALSE(c.decide().read_now);
  c.seen.polls = {{12, 0, 5, 1, at(98500ms), at(98502ms)}, {12, 0, 5, 1, at(99995ms), at(99997ms)}};
  auto decision = c.decide();
  EXPECT_TRUE(decision.read_now);
  EXPECT_FALSE(decision.state.takeover.safe_at());
  c.state = decision.state;
  c.seen.polls.clear();
  c.seen.dcs.read_at = at(99999ms);
  c.seen.dcs.term = 2;
  EXPECT_FALSE(c.decide().state.takeover.safe_at());
  c.seen.dcs.term = 1;
  EXPECT_TRUE(c.decide().state.takeover.safe_at());
}

TEST(Follow, StreamsFromANewLeader) {
  auto c = Case().follows("pg3");
  c.seen.server.upstream = "10.0.0.2:5432";
  auto decision = c.decide();
  ASSERT_TRUE(find<Reconfigure>(decision));
  EXPECT_EQ(find<Reconfigure>(decision)->upstream->name, "pg3");
}

TEST(Follow, AnEmptyNodeClonesFromARunningLeader) {
  auto c = Case().follows().stopped("");
  c.seen.server.control.reset();
  c.seen.server.data = DataDirectory::empty;
  auto decision = c.decide();
  ASSERT_TRUE(find<Clone>(decision));
  EXPECT_EQ(find<Clone>(decision)->from.address, (HostPort{"10.0.0.2", 5432}));
  c.seen.dcs.cluster.members[1].state = "starting";
  EXPECT_FALSE(find<Clone>(c.decide()));
}

TEST(Follow, AnInterruptedCloneIsMadeAnew) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.interrupted_job = "clone";
  EXPECT_TRUE(find<Clone>(c.decide()));
  c.state.clone.failed(c.now.boot);
  EXPECT_FALSE(find<Clone>(c.decide()));
}

struct Position {
  const char* control;
  Timeline local;
  Timeline leader;
  std::uint64_t end;       // of the local WAL
  std::uint64_t switched;  // where timeline 1 ended for the leader; 0: no history published
  const char* then;        // start, rewind, wait
};

TEST(Follow, AncestryDecidesBetweenStreamingAndRewinding) {
  const Position rows[] = {
      {"shut down in recovery", 1, 1, 900, 0, "start"},
      {"shut down in recovery", 1, 2, 900, 900, "start"},
      {"shut down in recovery", 1, 2, 901, 900, "rewind"},
      {"shut down in recovery", 1, 2, 900, 0, "start"},
      {"in production", 1, 2, 100, 900, "rewind"},
      {"shut down", 1, 2, 899, 900, "start"},
      {"shut down", 1, 2, 900, 900, "rewind"},
      {"in production", 1, 1, 100, 0, "start"},
      {"in production", 3, 2, 100, 900, "rewind"},
      {"in production", 1, 0, 100, 0, "wait"},
  };
  for (const auto& row : rows) {
    auto c = Case().follows().stopped(row.control);
    c.seen.server.control->timeline = row.local;
    c.seen.server.control->checkpoint = Lsn{row.end};
    c.seen.dcs.cluster.members[1].timeline = row.leader;
    if (row.switched) c.seen.dcs.cluster.history = {{1, Lsn{row.switched}, "", "", ""}};
    auto decision = c.decide();
    std::string did = find<Rewind>(decision)        ? "rewind"
                      : find<StartServer>(decision) ? "start"
                                                    : "wait";
    if (const auto* rewind = find<Rewind>(decision)) {
      EXPECT_EQ(rewind->parted_at,
                row.local == 1 ? std::optional(Lsn{row.switched}) : std::nullopt);
    }
    EXPECT_EQ(did, row.then) << row.control << " " << row.local << " " << row.leader << " "
                             << row.end;
  }
}

TEST(Follow, TwoTimelinesOfTheSameNumberAreNotTheSame) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.server.control->timeline = 2;
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{500}, "", "", ""}};
  c.seen.server.history = {{1, Lsn{500}, "", "", ""}};
  EXPECT_TRUE(find<StartServer>(c.decide()));
  c.seen.server.history = {{1, Lsn{400}, "", "", ""}};
  EXPECT_TRUE(find<Clone>(c.decide())) << "pg_rewind would find nothing to do";
}

TEST(Follow, AServerThatStillStartsIsPointedAtANewLeader) {
  auto c = Case().follows();
  c.seen.server.state = ServerState::starting;
  c.seen.server.control = ControlFile{};
  c.seen.server.control->system_id = kSystem;
  c.seen.server.control->timeline = 1;
  EXPECT_FALSE(find<Reconfigure>(c.decide()));
  c.state.upstream = UpstreamMember{"pg3", {"10.0.0.3", 5432}};
  EXPECT_TRUE(find<Reconfigure>(c.decide()));
  c.seen.server.control.reset();
  EXPECT_FALSE(find<Reconfigure>(c.decide())) << "what it has to replay is not known yet";
}

// Its pages are of WAL on timeline 3 up to 900; the leader parted from that at 800.
TEST(Follow, ARewoundServerFollowsOnlyWhoMakesItConsistent) {
  auto c = Case().follows().stopped("in archive recovery");
  c.state.rewound = true;
  auto& control = *c.seen.server.control;
  control.timeline = control.min_recovery_timeline = 3;
  control.checkpoint = Lsn{700};
  control.min_recovery = Lsn{900};
  auto& leader = c.seen.dcs.cluster.members[1];
  leader.timeline = 3;
  EXPECT_TRUE(find<StartServer>(c.decide()));
  leader.timeline = 4;
  c.seen.dcs.cluster.history = {{3, Lsn{900}, "", "", ""}};
  EXPECT_TRUE(find<StartServer>(c.decide()));
  c.seen.dcs.cluster.history = {{3, Lsn{800}, "", "", ""}};
  EXPECT_TRUE(find<Clone>(c.decide()));
  auto forgotten = c;  // by an agent that was started anew
  forgotten.state.rewound = false;
  EXPECT_TRUE(find<Rewind>(forgotten.decide()));
  forgotten.seen.server.control->within_backup = true;
  EXPECT_TRUE(find<Clone>(forgotten.decide())) << "a second rewind would forget what it lacks";
  auto starting = Case().follows();
  starting.seen.server.state = ServerState::starting;
  starting.seen.server.control = control;
  starting.seen.dcs.cluster.members[1].timeline = 4;
  starting.seen.dcs.cluster.history = c.seen.dcs.cluster.history;
  starting.state.upstream.reset();
  auto decision = starting.decide();
  EXPECT_TRUE(find<StopServer>(decision));
  EXPECT_FALSE(find<Reconfigure>(decision));
  EXPECT_EQ(find<StopServer>(decision)->mode, StopServer::Mode::immediate);
  auto hung = starting;
  hung.seen.server.state = ServerState::hung;
  EXPECT_TRUE(find<Reconfigure>(hung.decide())) << "it was whole before";
  auto crashed = starting;
  crashed.seen.server.control->min_recovery = Lsn{};
  crashed.seen.server.control->checkpoint = Lsn{850};
  decision = crashed.decide();
  EXPECT_FALSE(find<StopServer>(decision)) << "it comes up with its own WAL";
  EXPECT_FALSE(find<Reconfigure>(decision));
  starting.seen.dcs.cluster.members[1].timeline = 0;
  decision = starting.decide();
  EXPECT_FALSE(find<StopServer>(decision)) << "it does not serve yet";
  EXPECT_FALSE(find<Reconfigure>(decision));
}

TEST(Follow, AServerThatEndsBeforeItAnswersIsStartedAgainLater) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.state.starting = true;
  auto decision = c.decide();
  EXPECT_FALSE(find<StartServer>(decision));
  EXPECT_EQ(decision.state.start.failures, 1);
  c.state = decision.state;
  c.now.boot += 1s;
  EXPECT_TRUE(find<StartServer>(c.decide()));
}

TEST(Follow, WhatCannotBeRewoundIsCloned) {
  auto c = Case().follows().stopped("in production");
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{50}, "", "", ""}};
  c.seen.server.control->checksums = false;
  EXPECT_TRUE(find<Clone>(c.decide()));
  c.seen.server.control->wal_log_hints = true;
  EXPECT_TRUE(find<Rewind>(c.decide()));
  c.state.rewind_failed = true;
  EXPECT_TRUE(find<Clone>(c.decide()));
}

// pg2's lease comes to its end: a poll within the margin before that, and a read of the same term.
void lease_ends(Case& c, lease::Takeover& takeover) {
  takeover.key_seen({12, 90});
  takeover.polled({12, 0, 5, 3, c.now.boot - 2s, c.now.boot - 2s});
  takeover.polled({12, 0, 5, 3, c.now.boot - 500ms, c.now.boot - 500ms});
  takeover.read(c.now.boot - 100ms, 3);
}

TEST(Follow, ARewindDoesNotWaitForALeaderThatLeadsNoMore) {
  auto c = Case().follows().stopped("in production");
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{50}, "", "", ""}};
  auto decision = c.decide();
  ASSERT_TRUE(find<Rewind>(decision));
  c.state = decision.state;
  c.seen.job = JobKind::rewind;
  c.seen.job_waits = true;
  EXPECT_FALSE(find<CancelJob>(c.decide()));
  auto gone = c;
  gone.seen.dcs.cluster.leader.reset();
  EXPECT_TRUE(find<CancelJob>(gone.decide()));
  auto replaced = c;
  replaced.seen.dcs.cluster.leader = LeaderKey{"pg3", 13, 95};
  EXPECT_TRUE(find<CancelJob>(replaced.decide()));
  auto ending = c;
  lease_ends(ending, ending.state.takeover);
  EXPECT_TRUE(find<CancelJob>(ending.decide()));
  ending.seen.job_waits = false;
  EXPECT_FALSE(find<CancelJob>(ending.decide())) << "it changes files already";
  // Until the lock can be taken, its WAL has to be known.
  ending.seen.job.reset();
  decision = ending.decide();
  const auto* start = find<StartServer>(decision);
  ASSERT_TRUE(start);
  EXPECT_FALSE(start->upstream);
}

// pg_rewind would take its last checkpoint for the end of its WAL.
TEST(Follow, WhoWasStoppedInTheMiddleOfCrashRecoveryIsNotRewound) {
  auto c = Case().follows().stopped("shut down in recovery");
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{50}, "", "", ""}};
  c.seen.server.control->min_recovery = Lsn{};
  EXPECT_TRUE(find<Clone>(c.decide()));
  c.seen.server.control->min_recovery = Lsn{950};
  EXPECT_TRUE(find<Rewind>(c.decide()));
}

TEST(Follow, WhoForbidsItIsNotClonedWhenHistoriesPart) {
  auto c = Case().follows().stopped("in production");
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{50}, "", "", ""}};
  c.state.rewind_failed = true;
  auto set = [&](const char* key) {
    c.seen.dcs.cluster.config = dynamic_config_from_object({{"postgresql", {{key, false}}}});
  };
  set("remove_data_directory_on_diverged_timelines");
  EXPECT_TRUE(find<Clone>(c.decide()));
  set("remove_data_directory_on_rewind_failure");
  EXPECT_FALSE(find<Clone>(c.decide()));
  EXPECT_TRUE(says(c.decide(), "remove_data_directory_on_rewind_failure is off"));
  c.state.rewind_failed = false;
  c.seen.server.control->checksums = false;
  EXPECT_TRUE(find<Clone>(c.decide()));
  set("remove_data_directory_on_diverged_timelines");
  EXPECT_FALSE(find<Clone>(c.decide()));
}

TEST(Follow, ARunningStandbyThatDivergedIsStopped) {
  auto c = Case().follows();
  c.seen.dcs.cluster.members[1].timeline = 2;
  c.seen.dcs.cluster.history = {{1, Lsn{999}, "", "", ""}};
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.seen.dcs.cluster.history = {{1, Lsn{1000}, "", "", ""}};
  EXPECT_FALSE(find<StopServer>(c.decide()));
}

// The leader made timeline 3 out of 1; what is on timeline 2 is not in its history, however short.
TEST(Follow, ATimelineThatTheLeaderPassedOverIsNotItsHistory) {
  auto c = Case().follows();
  c.seen.server.timeline = 2;
  c.seen.dcs.cluster.members[1].timeline = 3;
  c.seen.dcs.cluster.history = {{1, Lsn{2000}, "", "", ""}, {2, Lsn{2000}, "passed over", "", ""}};
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.seen.dcs.cluster.history[1].reason = "no recovery target specified";
  EXPECT_FALSE(find<StopServer>(c.decide()));
}

TEST(Follow, WithoutEtcdAStandbyKeepsRunningAndAStoppedServerServesReads) {
  auto c = Case().follows();
  c.seen.dcs.reachable = false;
  EXPECT_TRUE(c.decide().actions.empty());
  c.stopped("in production");
  auto decision = c.decide();
  ASSERT_TRUE(find<StartServer>(decision));
  EXPECT_FALSE(find<StartServer>(decision)->as_primary);
}

}  // namespace
}  // namespace pgsteady::core::testing
