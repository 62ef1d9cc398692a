#include "lease/failsafe.h"

#include <gtest/gtest.h>

namespace pgsteady::lease {
namespace {

using namespace std::chrono_literals;

constexpr Instant at(std::chrono::milliseconds ms) {
  return Instant(Duration(ms));
}
constexpr Epoch kEpoch{77, 10};
constexpr Epoch kLater{78, 20};
constexpr Duration kMargin = margin(5s);

FailsafeRound round_of(std::vector<std::string> others) {
  FailsafeRound round;
  round.adopt(kEpoch, 5s, std::move(others));
  return round;
}

TEST(FailsafeRound, CountsWhenAllHavePromisedFromTheEarliestRequest) {
  auto round = round_of({"b", "c"});
  round.begin(at(1000ms));
  auto b = round.asked("b", at(1001ms));
  auto c = round.asked("c", at(1005ms));
  round.promised(c, 5s);
  EXPECT_FALSE(round.held_until());
  round.promised(b, 5s);
  EXPECT_EQ(round.held_until(), at(1000ms) + 5s - kMargin);
  round.begin(at(2000ms));
  EXPECT_EQ(round.held_until(), at(1001ms) + 5s - kMargin);
}

TEST(FailsafeRound, OneThatDoesNotPromiseHoldsAllBack) {
  auto round = round_of({"b", "c"});
  for (auto now : {1000ms, 2000ms}) {
    round.begin(at(now));
    auto b = round.asked("b", at(now));
    auto c = round.asked("c", at(now));
    round.promised(b, 5s);
    if (now == 1000ms) {
      round.promised(c, 5s);
    } else {
      round.failed(c);
    }
  }
  EXPECT_EQ(round.held_until(), at(1000ms) + 5s - kMargin) << "what was promised stands";
}

TEST(FailsafeRound, ALateAnswerCountsFromItsOwnRequest) {
  auto round = round_of({"b"});
  round.begin(at(1000ms));
  auto early = round.asked("b", at(1000ms));
  round.begin(at(3000ms));
  auto late = round.asked("b", at(3000ms));
  round.promised(early, 5s);
  EXPECT_EQ(round.held_until(), at(1000ms) + 5s - kMargin);
  round.promised(late, 5s);
  EXPECT_EQ(round.held_until(), at(3000ms) + 5s - kMargin);
  round.promised(early, 5s);
  EXPECT_EQ(round.held_until(), at(3000ms) + 5s - kMargin) << "an answer counts once";
}

TEST(FailsafeRound, AShorterPromiseIsNotStretched) {
  auto round = round_of({"b"});
  round.begin(at(1000ms));
  round.promised(round.asked("b", at(1000ms)), 2s);
  EXPECT_EQ(round.held_until(), deadline(at(1000ms), 2s));
  round.promised(round.asked("b", at(1000ms)), 3600s);
  EXPECT_EQ(round.held_until(), deadline(at(1000ms), 5s)) << "nor more believed than was asked for";
}

TEST(FailsafeRound, ANewNameHasToPromiseToo) {
  auto round = round_of({"b"});
  round.begin(at(1000ms));
  round.promised(round.asked("b", at(1000ms)), 5s);
  EXPECT_TRUE(round.held_until());
  round.adopt(kEpoch, 5s, {"b", "c"});
  EXPECT_FALSE(round.held_until());
  round.promised(round.asked("c", at(1100ms)), 5s);
  EXPECT_TRUE(round.held_until());
}

TEST(FailsafeRound, PromisesToOneEpochAreNothingToAnother) {
  auto round = round_of({"b"});
  round.begin(at(1000ms));
  auto late = round.asked("b", at(1000ms));
  round.promised(round.asked("b", at(1000ms)), 5s);
  round.adopt(kLater, 5s, {"b"});
  round.begin(at(1100ms));
  round.promised(late, 5s);
  EXPECT_FALSE(round.held_until());
}

TEST(FailsafeRound, ALeaderWithNobodyElseHasItsOwnWord) {
  auto round = round_of({});
  EXPECT_FALSE(round.held_until());
  round.begin(at(1000ms));
  EXPECT_EQ(round.held_until(), at(1000ms) + 5s - kMargin);
}

TEST(FailsafeRound, IsDueSoonAfterARenewalIsLate) {
  for (auto ttl : {2s, 5s, 30s, 3600s}) {
    auto counted = at(100s);
    auto due = failsafe_due(deadline(counted, ttl), ttl);
    EXPECT_GT(due, counted + renewal_interval(ttl)) << ttl.count();
    EXPECT_LT(due + 500ms, deadline(counted, ttl)) << ttl.count();
  }
}

class Asked : public ::testing::Test {
 protected:
  Asked() { promiser.decided({false, kEpoch, {}}); }
  Promiser::Answer ask(const Epoch& epoch, Instant now, Duration wanted = 5s) {
    length = wanted;
    return promiser.ask("a", epoch, length, now);
  }
  Promiser promiser;
  Duration length{};
};

TEST_F(Asked, PromisesAndKeepsTheLongest) {
  EXPECT_EQ(ask(kEpoch, at(1000ms)), Promiser::Answer::promised);
  EXPECT_EQ(promiser.promise(), (Promise{"a", kEpoch, at(6000ms)}));
  EXPECT_EQ(ask(kEpoch, at(1500ms), 1s), Promiser::Answer::promised);
  EXPECT_EQ(promiser.promise()->until, at(6000ms));
  EXPECT_EQ(ask(kEpoch, at(7000ms), 1s), Promiser::Answer::promised);
  EXPECT_EQ(promiser.promise()->until, at(8000ms));
}

TEST_F(Asked, NoPromiseIsLongerThanTheLongest) {
  EXPECT_EQ(ask(kEpoch, at(1000ms), 3600s), Promiser::Answer::promised);
  EXPECT_EQ(length, kLongestPromise);
  EXPECT_EQ(ask(kEpoch, at(1000ms), -5s), Promiser::Answer::promised);
  EXPECT_EQ(length, 0s);
}

TEST_F(Asked, WhoLeadsOrMayLeadDoesNotPromise) {
  promiser.decided({true, kEpoch, {}});
  EXPECT_EQ(ask(kLater, at(1000ms)), Promiser::Answer::leading);
  promiser.decided({false, kEpoch, at(2000ms)});
  EXPECT_EQ(ask(kLater, at(1999ms)), Promiser::Answer::leading);
  EXPECT_EQ(ask(kLater, at(2000ms)), Promiser::Answer::promised);
}

TEST_F(Asked, WhoKnowsNothingYetDoesNotPromise) {
  promiser = {};
  EXPECT_EQ(ask(kEpoch, at(1000ms)), Promiser::Answer::unknown);
}

TEST_F(Asked, AnOldLeaderIsNotHelped) {
  promiser.decided({false, kLater, {}});
  EXPECT_EQ(ask(kEpoch, at(1000ms)), Promiser::Answer::superseded);
  promiser.decided({false, kEpoch, {}});
  EXPECT_EQ(ask(kLater, at(1000ms)), Promiser::Answer::promised);
  EXPECT_EQ(ask(kEpoch, at(1001ms)), Promiser::Answer::superseded);
}

TEST_F(Asked, APromiseThatTheDecisionDidNotKnowStopsItsTransaction) {
  EXPECT_EQ(ask(kEpoch, at(1000ms)), Promiser::Answer::promised);
  auto known = promiser.promise();
  EXPECT_FALSE(promiser.begin_taking(std::nullopt));
  EXPECT_EQ(ask(kEpoch, at(2000ms)), Promiser::Answer::promised);
  EXPECT_FALSE(promiser.begin_taking(known));
  EXPECT_TRUE(promiser.begin_taking(promiser.promise()));
  EXPECT_EQ(ask(kEpoch, at(9000ms)), Promiser::Answer::leading) << "from then on";
}

}  // namespace
}  // namespace pgsteady::lease
