#include "lease/guardian.h"

#include <gtest/gtest.h>

namespace pgsteady::lease {
namespace {

using namespace std::chrono_literals;
using Ask = Request::Kind;
using Do = Action::Kind;
using Told = Notice::Kind;

constexpr Epoch kEpoch{77, 10};
constexpr Duration kTtl = 5s;

// Plays the system: what is started starts, what is killed dies when the test says so.
struct House {
  Guardian guardian{GuardianOptions{8500ms}};
  Instant now{1000s};
  Actions seen;
  std::size_t left = 3;  // processes of the server that a sweep still finds

  House() { run(guardian.begin(now)); }

  void run(const Actions& actions) {
    for (const auto& action : actions) {
      seen.push_back(action);
      if (action.kind == Do::start_agent) guardian.agent_started(now);
      if (action.kind == Do::start_server) run(guardian.server_started(100, now));
      if (action.kind == Do::start_job) guardian.job_started(action.job, now);
      if (action.kind == Do::kill_server) run(guardian.swept(left, now));
    }
  }
  void ask(const Request& request) { run(guardian.asked(guardian.generation(), request, now)); }
  void ask(Ask kind) { ask(Request{.kind = kind}); }
  void hello() { ask(Ask::hello); }
  void arm(Epoch epoch = kEpoch, Duration ahead = 4s) {
    ask(Request{.kind = Ask::arm, .epoch = epoch, .deadline = now + ahead, .ttl = kTtl});
  }
  void start(bool as_primary) { ask(Request{.kind = Ask::start_server, .as_primary = as_primary}); }
  void stop(StopMode mode, Duration limit) {
    ask(Request{.kind = Ask::stop_server, .mode = mode, .limit = limit});
  }
  void run_job(std::int64_t job, Duration limit = 60s) {
    ask(Request{.kind = Ask::run_job, .limit = limit, .job = job});
  }
  void tick() { run(guardian.tick(now)); }
  // Time passes in small steps, with the agent showing signs of life or not.
  void pass(Duration duration, bool alive = true) {
    for (auto end = now + duration; now < end;) {
      now = std::min(end, std::max(now + 1ns, std::min(guardian.next_wake(), now + 500ms)));
      if (alive) ask(Ask::alive);
      tick();
    }
  }
  void postmaster_dies(int status = 9) { run(guardian.server_exited(status, now)); }
  void everything_dies() {
    left = 0;
    if (guardian.phase() != ServerPhase::none && guardian.server_pid() != 0) postmaster_dies();
    tick();
  }

  std::size_t count(Do kind) const {
    std::size_t n = 0;
    for (const auto& action : seen) n += action.kind == kind;
    return n;
  }
  // Decisions to kill the server, without the sweeps that follow.
  std::size_t kills() const {
    std::size_t n = 0;
    for (const auto& action : seen) n += action.kind == Do::kill_server && !action.why.empty();
    return n;
  }
  std::vector<Notice> told(Told kind) const {
    std::vector<Notice> notices;
    for (const auto& action : seen) {
      if (action.kind == Do::send && action.notice.kind == kind) notices.push_back(action.notice);
    }
    return notices;
  }
  std::string refusal() const {
    auto refusals = told(Told::refused);
    return refusals.empty() ? "" : refusals.back().text;
  }
};

House talking() {
  House house;
  house.hello();
  house.seen.clear();
  return house;
}

House primary() {
  auto house = talking();
  house.arm();
  house.start(true);
  house.seen.clear();
  return house;
}

House standby() {
  auto house = talking();
  house.start(false);
  house.seen.clear();
  return house;
}

// --- arming
// ------------------------------------------------------------------------------------------

struct ArmRow {
  const char* name;
  Epoch epoch;
  Duration ahead;
  Duration ttl;
  std::string refused;  // empty: armed
  Duration in_force;    // the deadline afterwards, from now
};

// Armed before: epoch {77, 10} with 4 s to go.
const ArmRow kArmRows[] = {
    {"same epoch, later", {77, 10}, 4500ms, 5s, "", 4500ms},
    {"same epoch, earlier keeps what was promised", {77, 10}, 2s, 5s, "", 4s},
    {"a higher epoch", {78, 11}, 3s, 5s, "", 3s},
    {"exactly now + ttl", {77, 10}, 5s, 5s, "", 5s},
    {"beyond now + ttl", {77, 10}, 5001ms, 5s, "the deadline lies beyond now + ttl", 4s},
    {"in the past", {77, 10}, -1ms, 5s, "the deadline has passed already", 4s},
    {"now", {77, 10}, 0s, 5s, "the deadline has passed already", 4s},
    {"a lower epoch", {76, 9}, 4500ms, 5s, "a later epoch is armed", 4s},
    {"same revision, other lease",
     {76, 10},
     4500ms,
     5s,
     "the epoch is armed with another lease",
     4s},
    {"no lease", {0, 10}, 4500ms, 5s, "no such epoch", 4s},
    {"no revision", {77, 0}, 4500ms, 5s, "no such epoch", 4s},
    {"no ttl", {77, 10}, 4500ms, 0s, "the ttl makes no sense", 4s},
    {"a ttl that overflows", {77, 10}, 4500ms, Duration::max(), "the ttl makes no sense", 4s},
};

TEST(Guardian, ArmsOnlyWhatIsSafe) {
  for (const auto& row : kArmRows) {
    SCOPED_TRACE(row.name);
    auto house = primary();
    house.ask(Request{
        .kind = Ask::arm, .epoch = row.epoch, .deadline = house.now + row.ahead, .ttl = row.ttl});
    EXPECT_EQ(house.refusal(), row.refused);
    EXPECT_EQ(house.told(Told::armed).size(), row.refused.empty() ? 1u : 0u);
    EXPECT_EQ(house.guardian.deadline(), house.now + row.in_force);
    EXPECT_EQ(house.guardian.armed(), row.refused.empty() ? row.epoch : kEpoch);
  }
}

TEST(Guardian, SaysWhatIsInForce) {
  auto house = talking();
  house.arm();
  ASSERT_EQ(house.told(Told::armed).size(), 1u);
  EXPECT_EQ(house.told(Told::armed)[0].epoch, kEpoch);
  EXPECT_EQ(house.told(Told::armed)[0].deadline, house.now + 4s);
}

TEST(Guardian, HearsNoSupersededAgent) {
  auto house = primary();
  auto old = house.guardian.generation();
  house.run(house.guardian.agent_exited(9, house.now));
  house.tick();
  house.hello();
  ASSERT_NE(house.guardian.generation(), old);
  Request late{.kind = Ask::arm, .epoch = {99, 99}, .deadline = house.now + 5s, .ttl = kTtl};
  EXPECT_TRUE(house.guardian.asked(old, late, house.now).empty());
  EXPECT_EQ(house.guardian.armed(), kEpoch);
}

TEST(Guardian, HearsNothingBeforeTheHello) {
  House house;
  house.arm();
  EXPECT_EQ(house.refusal(), "say hello first");
  EXPECT_FALSE(house.guardian.armed());
}

// --- the deadline
// ------------------------------------------------------------------------------------

TEST(Guardian, KillsTheServerWhenItsDeadlinePasses) {
  auto house = primary();
  house.pass(4s - 1ns);
  EXPECT_EQ(house.kills(), 0u);
  house.pass(1ns);
  EXPECT_EQ(house.kills(), 1u);
  EXPECT_EQ(house.guardian.phase(), ServerPhase::killing);
  EXPECT_FALSE(house.guardian.armed());
}

TEST(Guardian, WakesAtTheDeadline) {
  auto house = primary();
  house.ask(Ask::alive);
  EXPECT_LE(house.guardian.next_wake(), house.now + 4s);
  house.now += 3900ms;
  house.ask(Ask::alive);
  EXPECT_EQ(house.guardian.next_wake(), house.now + 100ms);
}

TEST(Guardian, ALateRenewalFindsTheServerKilledAlready) {
  auto house = primary();
  house.now += 4s;
  house.arm();  // no tick in between: the message itself comes too late
  ASSERT_FALSE(house.seen.empty());
  EXPECT_EQ(house.seen.front().kind, Do::kill_server);
  EXPECT_TRUE(house.told(Told::armed).empty());
}

TEST(Guardian, RenewalsKeepTheServerAlive) {
  auto house = primary();
  for (int i = 0; i < 100; ++i) {
    house.pass(1s);
    house.arm();
  }
  EXPECT_EQ(house.kills(), 0u);
  EXPECT_EQ(house.count(Do::kill_agent), 0u);
}

TEST(Guardian, APassedEpochNeverComesBack) {
  auto house = primary();
  house.pass(4s);
  house.everything_dies();
  ASSERT_EQ(house.guardian.phase(), ServerPhase::none);
  house.arm();
  EXPECT_TRUE(house.told(Told::armed).empty());
  house.arm({77, 11});
  EXPECT_EQ(house.told(Told::armed).size(), 1u);
}

TEST(Guardian, ARestoredEtcdsLowRevisionsAreArmed) {
  auto house = primary();
  house.arm({79, 3});
  EXPECT_EQ(house.refusal(), "a later epoch is armed") << "the server lives under the other";
  house.pass(4s);
  house.everything_dies();
  house.arm({79, 3});
  EXPECT_EQ(house.guardian.armed(), (Epoch{79, 3}));
}

TEST(Guardian, WithoutAServerALowerRevisionOfAnotherLeaseReplacesTheArmedOne) {
  auto house = talking();
  house.arm();
  house.arm({77, 9});
  EXPECT_EQ(house.refusal(), "a later epoch is armed");
  house.arm({79, 3});
  EXPECT_EQ(house.guardian.armed(), (Epoch{79, 3}));
  house.arm();
  EXPECT_EQ(house.guardian.armed(), (Epoch{79, 3})) << "the replaced one came back";
}

TEST(Guardian, AnEpochIsOverWithLaterOnesOfItsLease) {
  auto house = talking();
  house.ask(Request{.kind = Ask::disarm, .epoch = {77, 20}});
  house.ask(Request{.kind = Ask::disarm, .epoch = {77, 12}});
  for (std::int64_t revision : {12, 19, 20}) {
    house.arm({77, revision});
    EXPECT_FALSE(house.guardian.armed()) << revision;
  }
  house.arm({77, 21});
  EXPECT_TRUE(house.guardian.armed());
}

TEST(Guardian, RemembersTheNewestSixteenClosedEpochs) {
  auto house = talking();
  for (std::int64_t lease = 1; lease <= 17; ++lease) {
    for (std::int64_t revision : {9, 10, 10}) {  // one lease takes room for one
      house.ask(Request{.kind = Ask::disarm, .epoch = {lease, revision}});
    }
  }
  house.arm({2, 10});
  EXPECT_FALSE(house.guardian.armed());
  house.arm({1, 10});
  EXPECT_TRUE(house.guardian.armed());
}

TEST(Guardian, ArmsNothingUntilAllIsReaped) {
  auto house = primary();
  house.pass(4s);
  house.arm({78, 11});
  EXPECT_EQ(house.refusal(), "the server of a passed deadline is not all reaped");
  house.postmaster_dies();
  house.arm({78, 11});
  EXPECT_TRUE(house.told(Told::armed).empty());
  house.left = 0;
  house.tick();
  house.arm({78, 11});
  EXPECT_EQ(house.told(Told::armed).size(), 1u);
}

TEST(Guardian, AStandbyHasNoDeadline) {
  auto house = standby();
  house.pass(3600s);
  EXPECT_EQ(house.kills(), 0u);
}

TEST(Guardian, APromotedStandbyHasOne) {
  auto house = standby();
  house.arm();
  house.pass(4s);
  EXPECT_EQ(house.kills(), 1u);
}

TEST(Guardian, SweepsUntilNothingIsLeft) {
  auto house = primary();
  house.pass(4s);
  house.postmaster_dies();
  house.pass(2s);
  EXPECT_GT(house.count(Do::kill_server), 10u);
  EXPECT_TRUE(house.told(Told::server_exited).empty());
  house.start(false);
  EXPECT_EQ(house.refusal(), "a server runs, or something of it is not reaped");
  house.everything_dies();
  ASSERT_EQ(house.told(Told::server_exited).size(), 1u);
  EXPECT_TRUE(house.told(Told::server_exited)[0].fenced);
  EXPECT_EQ(house.told(Told::status).back().phase, ServerPhase::none);
}

TEST(Guardian, AnEmptySweepDoesNotCountWhileThePostmasterLives) {
  auto house = primary();
  house.left = 0;
  house.ask(Ask::fence);
  EXPECT_EQ(house.guardian.phase(), ServerPhase::killing);
}

// --- disarming
// ---------------------------------------------------------------------------------------

TEST(Guardian, DisarmsOnlyWhenNoServerLives) {
  auto house = primary();
  house.ask(Request{.kind = Ask::disarm, .epoch = kEpoch});
  EXPECT_EQ(house.refusal(), "the server still lives");
  house.ask(Request{.kind = Ask::disarm, .epoch = {77, 11}});  // would take it along
  EXPECT_EQ(house.told(Told::refused).size(), 2u);
  house.arm();
  EXPECT_EQ(house.told(Told::armed).size(), 1u);
  house.stop(StopMode::fast, 10s);
  house.everything_dies();
  house.seen.clear();
  house.ask(Request{.kind = Ask::disarm, .epoch = kEpoch});
  ASSERT_EQ(house.told(Told::status).size(), 1u);
  EXPECT_FALSE(house.told(Told::status)[0].epoch.valid());
  EXPECT_FALSE(house.guardian.armed());
}

TEST(Guardian, DisarmingWhatIsNotArmedIsAnsweredWithTheStatus) {
  auto house = talking();
  for (Epoch epoch : {Epoch{}, kEpoch, kEpoch}) {
    house.seen.clear();
    house.ask(Request{.kind = Ask::disarm, .epoch = epoch});
    EXPECT_TRUE(house.told(Told::refused).empty());
    ASSERT_EQ(house.told(Told::status).size(), 1u);
    EXPECT_FALSE(house.told(Told::status)[0].epoch.valid());
  }
  house.arm();
  EXPECT_FALSE(house.guardian.armed()) << "its arming came after its end";
}

TEST(Guardian, DisarmingAnotherEpochLeavesTheArmedOne) {
  auto house = primary();
  house.seen.clear();
  for (Epoch epoch : {Epoch{77, 9}, Epoch{78, 11}}) {
    house.ask(Request{.kind = Ask::disarm, .epoch = epoch});
  }
  EXPECT_TRUE(house.told(Told::refused).empty());
  ASSERT_EQ(house.told(Told::status).size(), 2u);
  EXPECT_EQ(house.told(Told::status)[1].epoch, kEpoch);
  house.arm();
  EXPECT_EQ(house.told(Told::armed).size(), 1u);
}

TEST(Guardian, APromotedStandbyCannotBeDisarmed) {
  auto house = standby();
  house.arm();
  house.ask(Request{.kind = Ask::disarm, .epoch = kEpoch});
  EXPECT_EQ(house.guardian.armed(), kEpoch);
}

TEST(Guardian, ARenewalThatOvertakesADisarmIsRefused) {
  auto house = talking();
  house.arm();
  house.ask(Request{.kind = Ask::disarm, .epoch = kEpoch});
  house.arm();
  EXPECT_FALSE(house.guardian.armed());
}

// --- starting and stopping
// ---------------------------------------------------------------------------

TEST(Guardian, StartsAPrimaryOnlyArmed) {
  auto house = talking();
  house.start(true);
  EXPECT_EQ(house.refusal(), "a primary needs an armed deadline");
  house.arm();
  house.start(true);
  EXPECT_EQ(house.count(Do::start_server), 1u);
  ASSERT_EQ(house.told(Told::server_started).size(), 1u);
  EXPECT_EQ(house.told(Told::server_started)[0].pid, 100);
  EXPECT_TRUE(house.told(Told::server_started)[0].as_primary);
}

TEST(Guardian, StartsNoPrimaryOnAPassedDeadline) {
  auto house = talking();
  house.arm();
  house.now += 4s;
  house.start(true);
  EXPECT_EQ(house.count(Do::start_server), 0u);
}

TEST(Guardian, StartsOneServerOnly) {
  auto house = standby();
  house.start(false);
  EXPECT_EQ(house.count(Do::start_server), 0u);
}

TEST(Guardian, AStopThatHangsIsKilledAtItsLimit) {
  auto house = standby();
  house.stop(StopMode::fast, 2s);
  EXPECT_EQ(house.count(Do::ask_to_stop), 1u);
  house.pass(1999ms);
  EXPECT_EQ(house.kills(), 0u);
  house.pass(1ms);
  EXPECT_EQ(house.kills(), 1u);
}

TEST(Guardian, ALaterStopOnlyTightens) {
  auto house = standby();
  house.stop(StopMode::smart, 10s);
  house.stop(StopMode::fast, 2s);
  house.stop(StopMode::immediate, 60s);
  EXPECT_EQ(house.count(Do::ask_to_stop), 3u);
  house.pass(2s);
  EXPECT_EQ(house.kills(), 1u);
}

TEST(Guardian, TheDeadlineHoldsDuringAStop) {
  auto house = primary();
  house.stop(StopMode::fast, 60s);
  house.pass(4s);
  EXPECT_EQ(house.kills(), 1u);
}

TEST(Guardian, ADeadPostmastersOrphansAreKilledBeforeItsEndIsTold) {
  auto house = primary();
  house.postmaster_dies(11);
  EXPECT_EQ(house.count(Do::kill_server), 1u);
  EXPECT_TRUE(house.told(Told::server_exited).empty());
  house.left = 0;
  house.tick();
  ASSERT_EQ(house.told(Told::server_exited).size(), 1u);
  EXPECT_EQ(house.told(Told::server_exited)[0].code, 11);
  EXPECT_FALSE(house.told(Told::server_exited)[0].fenced);
  EXPECT_EQ(house.guardian.armed(), kEpoch);  // it may be started again at once
  house.start(true);
  EXPECT_EQ(house.count(Do::start_server), 1u);
}

TEST(Guardian, FenceKillsAtOnce) {
  auto house = standby();
  house.ask(Ask::fence);
  EXPECT_EQ(house.kills(), 1u);
  house.everything_dies();
  EXPECT_TRUE(house.told(Told::server_exited).at(0).fenced);
}

TEST(Guardian, AFenceEndsTheArmedEpochInEveryPhase) {
  for (auto phase :
       {ServerPhase::none, ServerPhase::running, ServerPhase::stopping, ServerPhase::killing}) {
    SCOPED_TRACE(static_cast<int>(phase));
    auto house = phase == ServerPhase::none ? talking() : primary();
    if (phase == ServerPhase::none) house.arm();
    if (phase == ServerPhase::stopping) house.stop(StopMode::fast, 3s);
    if (phase == ServerPhase::killing) house.postmaster_dies();
    ASSERT_EQ(house.guardian.phase(), phase);
    house.seen.clear();
    house.ask(Ask::fence);
    EXPECT_EQ(house.kills(), phase == ServerPhase::none ? 0u : 1u);
    ASSERT_FALSE(house.told(Told::status).empty());
    for (const auto& notice : house.told(Told::status)) EXPECT_FALSE(notice.epoch.valid());
    house.everything_dies();
    house.arm();
    EXPECT_FALSE(house.guardian.armed());
    house.arm({78, 11});
    EXPECT_TRUE(house.guardian.armed());
  }
}

TEST(Guardian, AFailedForkIsTold) {
  auto house = talking();
  house.run(house.guardian.server_start_failed("cannot fork", house.now));
  EXPECT_EQ(house.refusal(), "cannot fork");
  EXPECT_EQ(house.guardian.phase(), ServerPhase::none);
}

TEST(Guardian, PassesSignalsToALivePostmasterOnly) {
  auto house = standby();
  house.ask(Request{.kind = Ask::signal_server, .signal = 1});
  EXPECT_EQ(house.count(Do::pass_signal), 1u);
  house.postmaster_dies();
  house.ask(Request{.kind = Ask::signal_server, .signal = 1});
  EXPECT_EQ(house.refusal(), "no server runs");
}

// --- the agent
// ---------------------------------------------------------------------------------------

struct SilenceRow {
  const char* name;
  bool armed;
  Duration ttl;
  Duration limit;
};

const SilenceRow kSilenceRows[] = {
    {"unarmed", false, 0s, 10s},
    {"ttl 2", true, 2s, 1500ms},
    {"ttl 5", true, 5s, 2s},
    {"ttl 30", true, 30s, 12s},
};

TEST(Guardian, KillsAnAgentThatIsSilent) {
  for (const auto& row : kSilenceRows) {
    SCOPED_TRACE(row.name);
    auto house = talking();
    house.ask(Ask::alive);
    if (row.armed) {
      house.ask(Request{
          .kind = Ask::arm, .epoch = kEpoch, .deadline = house.now + row.ttl, .ttl = row.ttl});
    }
    house.pass(row.limit - 1ms, false);
    EXPECT_EQ(house.count(Do::kill_agent), 0u);
    house.pass(1ms, false);
    EXPECT_EQ(house.count(Do::kill_agent), 1u);
    house.pass(5s, false);
    EXPECT_EQ(house.count(Do::start_agent), 0u);  // not before it is reaped
    house.run(house.guardian.agent_exited(9, house.now));
    house.tick();
    EXPECT_EQ(house.count(Do::start_agent), 1u);
  }
}

TEST(Guardian, WaitsTenSecondsForTheHello) {
  House house;
  house.pass(9999ms, false);
  EXPECT_EQ(house.count(Do::kill_agent), 0u);
  house.pass(1ms, false);
  EXPECT_EQ(house.count(Do::kill_agent), 1u);
}

TEST(Guardian, ADeadAgentLeavesTheServerAlone) {
  auto house = standby();
  house.run(house.guardian.agent_exited(9, house.now));
  house.tick();
  EXPECT_EQ(house.count(Do::start_agent), 1u);
  house.hello();
  EXPECT_EQ(house.told(Told::status).back().phase, ServerPhase::running);
  EXPECT_EQ(house.told(Told::status).back().pid, 100);
  EXPECT_EQ(house.count(Do::kill_server) + house.count(Do::ask_to_stop), 0u);
}

TEST(Guardian, RestartsADyingAgentAtMostOnceASecondInTheEnd) {
  House house;
  std::vector<Duration> delays;
  for (int i = 0; i < 8; ++i) {
    auto died = house.now;
    house.run(house.guardian.agent_exited(256, house.now));
    auto starts = house.count(Do::start_agent);
    while (house.count(Do::start_agent) == starts) {
      house.now = std::max(house.now, house.guardian.next_wake());
      house.tick();
    }
    delays.push_back(house.now - died);
  }
  EXPECT_EQ(delays, (std::vector<Duration>{0s, 50ms, 100ms, 200ms, 400ms, 800ms, 1s, 1s}));
  house.hello();
  house.pass(2s);
  house.run(house.guardian.agent_exited(256, house.now));
  EXPECT_EQ(house.guardian.next_wake(), house.now);
}

TEST(Guardian, KillsAnAgentThatDoesNotRead) {
  auto house = talking();
  house.run(house.guardian.agent_deaf(house.now));
  EXPECT_EQ(house.count(Do::kill_agent), 1u);
}

// --- jobs
// --------------------------------------------------------------------------------------------

TEST(Guardian, TellsHowAJobEnded) {
  auto house = talking();
  house.run_job(5);
  EXPECT_EQ(house.count(Do::start_job), 1u);
  house.run_job(5);
  EXPECT_EQ(house.refusal(), "the job runs already");
  house.run(house.guardian.job_exited(5, 256, house.now));
  ASSERT_EQ(house.told(Told::job_exited).size(), 1u);
  EXPECT_EQ(house.told(Told::job_exited)[0].job, 5);
  EXPECT_EQ(house.told(Told::job_exited)[0].code, 256);
}

TEST(Guardian, KillsAJobAtItsLimitOrOnDemand) {
  auto house = talking();
  house.run_job(5, 3s);
  house.run_job(6);
  house.pass(4s);
  EXPECT_EQ(house.count(Do::kill_job), 1u);
  house.ask(Request{.kind = Ask::kill_job, .job = 6});
  EXPECT_EQ(house.count(Do::kill_job), 2u);
  house.ask(Request{.kind = Ask::kill_job, .job = 7});
  EXPECT_EQ(house.refusal(), "no such job");
}

TEST(Guardian, AFormerAgentsJobsAreGoneBeforeAnythingIsStarted) {
  auto house = talking();
  house.run_job(5);
  house.run(house.guardian.agent_exited(9, house.now));
  EXPECT_EQ(house.count(Do::kill_job), 1u);
  house.tick();
  house.hello();
  house.start(false);
  EXPECT_EQ(house.refusal(), "a former agent's job still lives");
  house.run_job(6);
  EXPECT_EQ(house.count(Do::start_job), 1u);
  house.run(house.guardian.job_exited(5, 9, house.now));
  EXPECT_TRUE(house.told(Told::job_exited).empty());
  house.start(false);
  EXPECT_EQ(house.count(Do::start_server), 1u);
}

// --- the end
// -----------------------------------------------------------------------------------------

TEST(Guardian, ExitsWithTheAgentsCodeWhenItHasFinished) {
  auto house = talking();
  house.run(house.guardian.stop_requested(house.now));
  ASSERT_EQ(house.told(Told::stop).size(), 1u);
  EXPECT_EQ(house.told(Told::stop)[0].limit, house.now + 8500ms);
  house.ask(Request{.kind = Ask::finished, .code = 3});
  EXPECT_EQ(house.count(Do::exit), 0u);
  house.run(house.guardian.agent_exited(3 << 8, house.now));
  house.tick();
  ASSERT_EQ(house.count(Do::exit), 1u);
  EXPECT_EQ(house.seen.back().code, 3);
  EXPECT_EQ(house.count(Do::start_agent), 0u);
}

TEST(Guardian, LeavesNoServerBehind) {
  auto house = standby();
  house.ask(Request{.kind = Ask::finished, .code = 0});
  EXPECT_EQ(house.count(Do::ask_to_stop), 1u);
  house.pass(1s);
  EXPECT_EQ(house.kills(), 1u);
  house.run(house.guardian.agent_exited(0, house.now));
  EXPECT_EQ(house.count(Do::exit), 0u);
  house.everything_dies();
  EXPECT_EQ(house.count(Do::exit), 1u);
}

TEST(Guardian, KillsAnAgentThatFinishedAndDoesNotExit) {
  auto house = talking();
  house.ask(Request{.kind = Ask::finished, .code = 0});
  house.pass(2s);
  EXPECT_EQ(house.count(Do::kill_agent), 1u);
}

TEST(Guardian, StopsTheServerItselfWhenTheAgentDoesNot) {
  auto house = standby();
  house.run(house.guardian.stop_requested(house.now));
  house.pass(8499ms);
  EXPECT_EQ(house.count(Do::ask_to_stop) + house.count(Do::kill_agent), 0u);
  house.pass(1ms);
  EXPECT_EQ(house.count(Do::kill_agent), 1u);
  EXPECT_EQ(house.count(Do::ask_to_stop), 1u);
  house.run(house.guardian.agent_exited(9, house.now));
  house.pass(1s);
  EXPECT_EQ(house.kills(), 1u);
  house.everything_dies();
  ASSERT_EQ(house.count(Do::exit), 1u);
  EXPECT_EQ(house.seen.back().code, 1);
  EXPECT_EQ(house.count(Do::start_agent), 0u);
}

TEST(Guardian, WakesAtOnceWhenTheLastOfTheServerIsGone) {
  auto house = standby();
  house.run(house.guardian.stop_requested(house.now));
  house.pass(8500ms);
  house.run(house.guardian.agent_exited(9, house.now));
  house.left = 0;
  house.postmaster_dies();  // no tick follows
  EXPECT_LE(house.guardian.next_wake(), house.now);
}

TEST(Guardian, EndsEvenIfSomethingCannotDie) {
  auto house = standby();
  house.run(house.guardian.stop_requested(house.now));
  house.pass(8500ms + 4s);
  ASSERT_GE(house.count(Do::exit), 1u);
  EXPECT_FALSE(house.seen.back().why.empty());
}

TEST(Guardian, TellsANewAgentOfAStopUnderWay) {
  auto house = standby();
  house.run(house.guardian.stop_requested(house.now));
  house.run(house.guardian.agent_exited(9, house.now));
  house.tick();
  house.hello();
  EXPECT_EQ(house.told(Told::stop).size(), 2u);
}

TEST(Guardian, PassesAReloadOn) {
  auto house = talking();
  house.run(house.guardian.reload_requested(house.now));
  EXPECT_EQ(house.told(Told::reload).size(), 1u);
}

}  // namespace
}  // namespace pgsteady::lease
