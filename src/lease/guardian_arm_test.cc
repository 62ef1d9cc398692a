// The guardian: which epochs are armed and disarmed, and who is heard.
#include "lease/testing.h"

namespace pgsteady::lease::testing {
namespace {

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

}  // namespace
}  // namespace pgsteady::lease::testing
