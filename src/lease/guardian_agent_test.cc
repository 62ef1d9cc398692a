// The guardian: the agent it starts, the jobs, and how everything ends.
#include "lease/testing.h"

namespace pgsteady::lease::testing {
namespace {

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
}  // namespace pgsteady::lease::testing
