#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

using Kind = Request::Kind;

ReplicationRow stream(const MemberName& name, Lsn flushed) {
  return {"replicator", name, "", "streaming", "async", 0, flushed};
}

// The leader of three, both others streaming and reachable.
Case leader() {
  auto c = Case().peer("pg2", Lsn{1000}).peer("pg3", Lsn{1000});
  c.seen.peers->asked_at = c.now.boot;
  c.seen.server.replication = {stream("pg2", Lsn{990}), stream("pg3", Lsn{1000})};
  return c;
}

Case with_key(Case c, const MemberName& from, const MemberName& candidate,
              const std::string& scheduled_at = "") {
  c.seen.dcs.cluster.failover = FailoverRequest{from, candidate, scheduled_at, 150};
  c.seen.dcs.cluster.failover_revision = 150;
  c.state.failover_seen = SeenFailover{150, at(98s)};
  return c;
}

Request request(Kind kind, const MemberName& from, const MemberName& candidate) {
  Request r;
  r.kind = kind;
  r.id = 7;
  r.received = at(98400ms);
  r.leader = from;
  r.candidate = candidate;
  return r;
}

TEST(FailoverKey, TheLeaderStopsForTheNamedCandidate) {
  auto decision = with_key(leader(), "pg1", "pg2").decide();
  ASSERT_TRUE(find<StopServer>(decision));
  EXPECT_TRUE(find<StopServer>(decision)->checkpoint_first);
  EXPECT_EQ(decision.state.successor, "pg2");
  EXPECT_FALSE(find_txn(decision, TxnKind::clear_failover));
}

TEST(FailoverKey, WhatWasScheduledIsNotCarriedOutInAPause) {
  auto c = with_key(leader(), "pg1", "pg2");
  auto& when = c.seen.dcs.cluster.failover->scheduled_at;
  when = "2030-01-01T00:00:00Z";
  c.now.wall = parse_time("2030-01-01T00:00:01Z")->time;
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.seen.dcs.cluster.config->pause = true;
  c.seen.guard.suspended = true;
  EXPECT_FALSE(find<StopServer>(c.decide()));
  when.clear();
  EXPECT_TRUE(find<StopServer>(c.decide())) << "one that is asked for now is";
}

TEST(FailoverKey, WithoutACandidateTheFurthestStandbyIsTaken) {
  auto c = with_key(leader(), "pg1", "");
  EXPECT_EQ(c.decide().state.successor, "pg3");
  c.seen.dcs.cluster.members[1].tags.values = {{"failover_priority", 2}};
  EXPECT_EQ(c.decide().state.successor, "pg2") << "a priority counts more than a few bytes";
}

// One that began since the last measurement is not in it.
TEST(FailoverKey, WithoutACandidateAStreamIsWaitedFor) {
  auto c = with_key(leader(), "pg1", "");
  c.state.failover_seen->at = c.now.boot;
  c.seen.server.measured_at -= 1s;
  auto streams = std::exchange(c.seen.server.replication, {});
  auto decision = c.decide();
  EXPECT_TRUE(decision.measure_now);
  EXPECT_FALSE(find_txn(decision, TxnKind::clear_failover));
  EXPECT_FALSE(find<StopServer>(decision));
  c.now.boot += c.seen.dcs.cluster.config->loop_wait + 1s;
  c.seen.peers->asked_at = c.now.boot;
  decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::clear_failover));
  EXPECT_TRUE(says(decision, "no replica streams from me"));
  c.seen.server.replication = streams;
  EXPECT_EQ(c.decide().state.successor, "pg3");
}

// It says whom this node handed over to when it led before; or it failed then.
TEST(FailoverKey, OneOfAnEarlierTermIsCleared) {
  auto c = with_key(leader(), "pg1", "pg2");
  c.state.term_began = 151;
  auto decision = c.decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::clear_failover));
  EXPECT_FALSE(find<StopServer>(decision));
  c.seen.dcs.cluster.failover->scheduled_at = iso_time(c.now.wall);
  EXPECT_TRUE(find<StopServer>(c.decide())) << "what was scheduled is carried out";
}

TEST(FailoverKey, TheLeaderAsksTheOthersFirst) {
  auto c = with_key(leader(), "pg1", "pg2");
  c.seen.peers.reset();
  auto decision = c.decide();
  EXPECT_TRUE(find<AskPeers>(decision));
  EXPECT_FALSE(find<StopServer>(decision));
}

TEST(FailoverKey, ReleasedWhenTheServerIsDownNotBefore) {
  auto c = with_key(leader(), "pg1", "pg2");
  auto decision = c.decide();
  EXPECT_FALSE(find_txn(decision, TxnKind::release));
  c.state = decision.state;
  c.stopped("shut down");
  decision = c.decide();
  EXPECT_TRUE(find<Disarm>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::release));
  c.seen.guard.armed = {};
  decision = c.decide();
  EXPECT_FALSE(find<StartServer>(decision)) << "it is not restarted in place";
  const auto* txn = find_txn(decision, TxnKind::release);
  ASSERT_TRUE(txn);
  EXPECT_NE(txn->operations[2].value.find("\"member\":\"pg2\""), std::string::npos);
  c.seen.txn_ends = {{TxnKind::release, true, false, true, 220, 0}};
  decision = c.decide();
  EXPECT_FALSE(decision.state.lock);
  EXPECT_FALSE(decision.state.handing_over);
  EXPECT_FALSE(find<DropLease>(decision)) << "it stays a member";
}

TEST(FailoverKey, WhatIsNotPossibleIsClearedAndSaysWhy) {
  struct {
    const char *from, *candidate, *says;
  } rows[] = {{"pg1", "pg4", "pg4 is unknown"},
              {"pg1", "pg1", "already the leader"},
              {"pg3", "pg2", "Cleaning up"},
              {"", "pg4", "pg4 is unknown"}};
  for (auto row : rows) {
    auto decision = with_key(leader(), row.from, row.candidate).decide();
    EXPECT_TRUE(find_txn(decision, TxnKind::clear_failover)) << row.candidate;
    EXPECT_TRUE(says(decision, row.says)) << row.candidate;
    EXPECT_FALSE(find<StopServer>(decision)) << row.candidate;
  }
}

TEST(FailoverKey, AnUnfitCandidateIsRefused) {
  struct {
    void (*spoil)(Case&);
    const char* says;
    bool force_helps;
  } rows[] = {
      {[](Case& c) { c.seen.peers->peers[0].answered = false; }, "pg2 is not reachable", false},
      {[](Case& c) { c.seen.peers->peers[0].running = false; }, "pg2 is not running", false},
      {[](Case& c) { c.seen.peers->peers[0].nofailover = true; }, "not allowed to promote", true},
      {[](Case& c) { c.seen.server.write_lsn = Lsn{1000 + (2 << 20)}; }, "bytes behind", true},
      {[](Case& c) {
         c.seen.server.replication.erase(c.seen.server.replication.begin());
         c.seen.peers->peers[0].timeline = 9;
       },
       "on timeline 9", true},
  };
  for (auto row : rows) {
    auto c = with_key(leader(), "pg1", "pg2");
    row.spoil(c);
    auto decision = c.decide();
    EXPECT_TRUE(says(decision, row.says)) << row.says;
    EXPECT_FALSE(find<StopServer>(decision)) << row.says;
    c.seen.dcs.cluster.failover->force = true;
    EXPECT_EQ(find<StopServer>(c.decide()) != nullptr, row.force_helps) << row.says;
  }
}

TEST(FailoverKey, AScheduledOneWaitsForTheWallClock) {
  auto c = with_key(leader(), "pg1", "pg2", iso_time(Case().now.wall + 500ms));
  auto decision = c.decide();
  EXPECT_FALSE(find<StopServer>(decision));
  EXPECT_FALSE(find_txn(decision, TxnKind::clear_failover));
  EXPECT_LE(decision.next_wake, c.now.boot + 500ms);
  c.now.wall += 500ms;
  EXPECT_TRUE(find<StopServer>(c.decide()));
  c.now.wall += 60s;
  decision = c.decide();
  EXPECT_FALSE(find<StopServer>(decision)) << "a stale one is not carried out";
  EXPECT_TRUE(find_txn(decision, TxnKind::clear_failover));
}

TEST(FailoverKey, AnUnreadableTimeIsCleared) {
  auto decision = with_key(leader(), "pg1", "pg2", "teatime").decide();
  EXPECT_TRUE(find_txn(decision, TxnKind::clear_failover));
  EXPECT_FALSE(find<StopServer>(decision));
}

TEST(ManualRequest, BadArgumentsAreAnsweredAtOnce) {
  EXPECT_EQ(reply_to(leader(), request(Kind::switchover, "", "")),
            "400 Switchover could be performed only from a specific leader");
  EXPECT_EQ(reply_to(leader(), request(Kind::failover, "", "")),
            "400 Failover could be performed only to a specific candidate");
  EXPECT_EQ(reply_to(leader(), request(Kind::switchover, "pg1", "pg1")),
            "400 Switchover target and source are the same");
  EXPECT_EQ(reply_to(leader(), request(Kind::switchover, "pg3", "pg2")),
            "412 leader name does not match");
  EXPECT_EQ(reply_to(leader(), request(Kind::switchover, "pg1", "pg4")),
            "412 candidate does not exists");
}

TEST(ManualRequest, TimesAreChecked) {
  auto scheduled = [](const std::string& when) {
    auto r = request(Kind::switchover, "pg1", "pg2");
    r.scheduled_at = when;
    return reply_to(leader(), r);
  };
  EXPECT_EQ(scheduled("2000-01-01T00:00Z"), "422 Cannot schedule switchover in the past");
  EXPECT_EQ(scheduled("teatime").substr(0, 4), "422 ");
  EXPECT_EQ(scheduled("2100-01-01T00:00").substr(0, 4), "400 ");
  auto r = request(Kind::failover, "", "pg2");
  r.scheduled_at = "2100-01-01T00:00Z";
  EXPECT_EQ(reply_to(leader(), r), "400 Failover can't be scheduled");
}

TEST(ManualRequest, InPauseACandidateIsNeededAndNothingIsScheduled) {
  auto c = leader();
  c.seen.dcs.cluster.config->pause = true;
  auto r = request(Kind::switchover, "pg1", "");
  EXPECT_EQ(reply_to(c, r).substr(0, 4), "400 ");
  r.candidate = "pg2";
  r.scheduled_at = "2100-01-01T00:00Z";
  EXPECT_EQ(reply_to(c, r), "400 Can't schedule switchover in the paused state");
}

TEST(ManualRequest, AGoodOneWritesTheKeyAndIsAnsweredWhenAnotherLeads) {
  auto c = leader();
  c.seen.requests = {request(Kind::switchover, "pg1", "pg2")};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::ask_failover);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->compares, std::vector<Compare>{Compare::unchanged("failover", 0)});
  EXPECT_EQ(txn->operations[0].value, R"({"leader":"pg1","member":"pg2"})");
  EXPECT_EQ(reply(decision), "");

  c.state = decision.state;
  c.seen.requests.clear();
  c.seen.txn_ends = {{TxnKind::ask_failover, true, false, true, 210, 0}};
  decision = c.decide();
  EXPECT_EQ(reply(decision), "") << "what was read is older than the key";
  c.state = decision.state;
  c.seen.txn_ends.clear();
  c.follows("pg2");
  c.seen.dcs.cluster.revision = 220;
  EXPECT_EQ(reply(c.decide()), "200 Successfully switched over to \"pg2\"");
  c.follows("pg3");
  EXPECT_EQ(reply(c.decide()), "200 Switched over to \"pg3\" instead of \"pg2\"");
  c.leads();
  c.seen.dcs.cluster.revision = 220;
  EXPECT_EQ(reply(c.decide()).substr(0, 21), "503 Switchover failed");
}

TEST(ManualRequest, AnUnfitCandidateIsNamedWithTheReason) {
  auto c = leader();
  c.seen.peers->peers[0].answered = false;
  EXPECT_EQ(reply_to(c, request(Kind::switchover, "pg1", "pg2")),
            "412 switchover is not possible: no good candidates have been found "
            "(pg2 is not reachable)");
}

TEST(ManualRequest, AFailoverWithALeaderIsASwitchoverToTheBest) {
  auto c = leader();
  c.seen.requests = {request(Kind::failover, "pg1", "")};
  const auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::ask_failover);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0].value, R"({"leader":"pg1"})");
}

TEST(ManualRequest, AScheduledOneIsAcceptedOnceItIsWritten) {
  auto c = leader();
  auto r = request(Kind::switchover, "pg1", "pg2");
  r.scheduled_at = "2100-01-01T00:00Z";
  c.seen.requests = {r};
  auto decision = c.decide();
  ASSERT_TRUE(find_txn(decision, TxnKind::ask_failover));
  c.state = decision.state;
  c.seen.requests.clear();
  c.seen.txn_ends = {{TxnKind::ask_failover, true, false, true, 210, 0}};
  EXPECT_EQ(reply(c.decide()), "202 Switchover scheduled");
}

TEST(ManualRequest, AScheduledOneCanBeDeleted) {
  auto r = request(Kind::cancel_switchover, "", "");
  EXPECT_EQ(reply_to(leader(), r), "404 no switchover is scheduled");
  auto c = with_key(leader(), "pg1", "pg2", "2100-01-01T00:00Z");
  c.seen.requests = {r};
  auto decision = c.decide();
  ASSERT_TRUE(find_txn(decision, TxnKind::cancel_failover));
  c.state = decision.state;
  c.seen.requests.clear();
  c.seen.txn_ends = {{TxnKind::cancel_failover, true, false, true, 210, 0}};
  EXPECT_EQ(reply(c.decide()), "200 scheduled switchover deleted");
  c.seen.txn_ends[0].succeeded = false;
  EXPECT_EQ(reply(c.decide()).substr(0, 4), "409 ");
}

TEST(ManualRequest, SaysWhatIsLostWhenTheLeaderIsGone) {
  auto c = Case().leaderless().peer("pg3", Lsn{5096});
  c.seen.peers->asked_at = c.now.boot;
  auto r = request(Kind::failover, "", "pg1");
  EXPECT_EQ(reply_to(c, r),
            "412 failover is not possible: no good candidates have been found "
            "(pg1 is behind pg3: 4096 bytes of WAL would be lost)");
  r.force = true;
  c.seen.requests = {r};
  auto decision = c.decide();
  const auto* txn = find_txn(decision, TxnKind::ask_failover);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->operations[0].value, R"({"member":"pg1","force":true})");
  EXPECT_EQ(decision.state.manual->loss_bytes, 4096);
}

TEST(ManualRequest, FiguresThatMayBeOldAreAskedForAgain) {
  auto c = Case().leaderless().peer("pg3", Lsn{1001});
  auto r = request(Kind::failover, "", "pg1");
  r.received = at(99800ms);
  c.seen.peers->asked_at = at(99850ms);
  c.seen.requests = {r};
  auto decision = c.decide();
  EXPECT_EQ(reply(decision), "");
  EXPECT_TRUE(find<AskPeers>(decision));
  c.state = decision.state;
  c.seen.requests.clear();
  c.now.boot = r.received + 1500ms;
  EXPECT_EQ(reply(c.decide()).substr(0, 4), "412 ");
}

TEST(ManualRequest, WaitsForARead) {
  auto c = leader();
  c.state.written_revision = 201;
  c.seen.requests = {request(Kind::cancel_switchover, "", "")};
  auto decision = c.decide();
  EXPECT_EQ(reply(decision), "");
  c.state = decision.state;
  c.seen.requests.clear();
  c.seen.dcs.cluster.revision = 201;
  EXPECT_EQ(reply(c.decide()).substr(0, 4), "404 ");
}

TEST(ManualRequest, IsNotLeftWithoutAnAnswer) {
  auto c = leader();
  c.seen.requests = {request(Kind::switchover, "pg1", "pg2")};
  c.state = c.decide().state;
  c.seen.requests.clear();
  c.now.boot += 60s;
  EXPECT_EQ(reply(c.decide()), "503 Switchover status unknown");
}

TEST(ManualRequest, IsRefusedWithoutEtcd) {
  auto c = leader();
  c.seen.dcs.reachable = false;
  EXPECT_EQ(reply_to(c, request(Kind::switchover, "pg1", "pg2")).substr(0, 4), "503 ");
}

TEST(NamedCandidate, IsPreferredButCheckedLikeAnyOther) {
  auto c = with_key(Case().leaderless().peer("pg3", Lsn{1001}), "", "pg1");
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire)) << "pg3 is ahead";
  c.seen.dcs.cluster.failover->force = true;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
  c.self.tags.values["nofailover"] = true;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(NamedCandidate, EvenAForcedOneWaitsUntilTheOldPrimaryIsFenced) {
  auto c = with_key(Case().leaderless(), "", "pg1");
  c.seen.dcs.cluster.failover->force = true;
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
}

TEST(NamedCandidate, TheOthersGiveItAHeadStart) {
  auto c = with_key(Case().leaderless().peer("pg3", Lsn{1000}), "", "pg3");
  c.state.takeover = {};
  c.state.takeover.key_seen({12, 90});
  c.state.takeover.key_gone(at(94s), 5s);
  EXPECT_FALSE(find<AskPeers>(c.decide()));
  EXPECT_FALSE(find_txn(c.decide(), TxnKind::acquire));
  c.now.boot += 2s;
  EXPECT_TRUE(find<AskPeers>(c.decide()));
  c = with_key(c, "", "pg3", "2100-01-01T00:00Z");
  c.now.boot -= 2s;
  EXPECT_TRUE(find_txn(c.decide(), TxnKind::acquire)) << "a scheduled one names nobody yet";
}

}  // namespace
}  // namespace pgsteady::core::testing
