// The guardian: starting, stopping and fencing the server.
#include "lease/testing.h"

namespace pgsteady::lease::testing {
namespace {

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

}  // namespace
}  // namespace pgsteady::lease::testing
