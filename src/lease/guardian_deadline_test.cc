// The guardian: what a deadline does, and which epochs are over.
#include "lease/testing.h"

namespace pgsteady::lease::testing {
namespace {

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

TEST(Guardian, ASuspendedDeadlineKillsNothing) {
  House house;
  house.hello();
  house.arm();
  house.start(true);
  house.ask(Ask::suspend);
  EXPECT_TRUE(house.told(Told::status).back().suspended);
  house.pass(60s);
  EXPECT_EQ(house.kills(), 0u);
  EXPECT_EQ(house.guardian.phase(), ServerPhase::running);
  house.ask(Ask::resume);
  EXPECT_EQ(house.kills(), 1u) << "a deadline that has passed counts at once";
}

TEST(Guardian, ArmedAnewBeforeItIsResumedTheServerLives) {
  House house;
  house.hello();
  house.arm();
  house.start(true);
  house.ask(Ask::suspend);
  house.pass(60s);
  house.arm();
  house.ask(Ask::resume);
  house.pass(3s);
  EXPECT_EQ(house.kills(), 0u);
  house.pass(2s);
  EXPECT_EQ(house.kills(), 1u) << "it is armed as before";
}

TEST(Guardian, ASuspensionOutlivesTheAgentThatAskedForIt) {
  House house;
  house.hello();
  house.arm();
  house.start(true);
  house.ask(Ask::suspend);
  house.run(house.guardian.agent_exited(9, house.now));
  house.tick();
  house.hello();
  EXPECT_TRUE(house.told(Told::status).back().suspended);
  house.pass(60s);
  EXPECT_EQ(house.kills(), 0u);
}

TEST(Guardian, ASuspendedServerIsNotTheWatchdogs) {
  House house;
  house.hello();
  house.arm();
  house.start(true);
  EXPECT_EQ(house.guardian.watchdog_care(), WatchdogCare::feed);
  house.ask(Ask::suspend);
  EXPECT_EQ(house.guardian.watchdog_care(), WatchdogCare::close);
  house.arm();
  EXPECT_EQ(house.guardian.watchdog_care(), WatchdogCare::close);
  house.ask(Ask::resume);
  EXPECT_EQ(house.guardian.watchdog_care(), WatchdogCare::feed);
}

TEST(Guardian, AWatchdogThatFailedInASuspensionCostsTheServerItsDeadline) {
  House house;
  house.hello();
  house.arm();
  house.start(true);
  house.ask(Ask::suspend);
  house.run(house.guardian.watchdog_works(false, house.now));
  house.pass(60s);
  house.arm();
  house.ask(Ask::resume);
  house.pass(2s);
  house.arm();
  EXPECT_EQ(house.told(Told::refused).back().text, "the watchdog is required and does not work");
  house.pass(3s);
  EXPECT_EQ(house.kills(), 1u);
}

TEST(Guardian, TheWatchdogIsLeftAloneWhileAFencedServerIsReaped) {
  auto house = primary();
  house.left = 1;
  house.ask(Ask::fence);
  EXPECT_EQ(house.guardian.watchdog_care(), WatchdogCare::leave);
  House standby;
  standby.hello();
  standby.start(false);
  EXPECT_EQ(standby.guardian.watchdog_care(), WatchdogCare::close) << "it was never armed";
}

}  // namespace
}  // namespace pgsteady::lease::testing
