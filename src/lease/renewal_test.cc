#include "lease/renewal.h"

#include <gtest/gtest.h>

namespace pgsteady::lease {
namespace {

using namespace std::chrono_literals;

constexpr Instant at(std::chrono::milliseconds ms) {
  return Instant(Duration(ms));
}
constexpr Epoch kEpoch{77, 10};
const KeyCheck kMine{"pg1", 77, 10};

Renewal holder() {
  Renewal r;
  r.adopt(77, 5s, at(0ms));
  r.hold(kEpoch, "pg1");
  return r;
}

void round(Renewal& r, std::chrono::milliseconds sent, const KeyCheck& found = kMine,
           std::uint64_t keepalive_term = 3, std::uint64_t check_term = 3) {
  r.keepalive_sent(0, at(sent));
  auto check = r.check_sent(at(sent));
  r.keepalive_answered(0, 77, 5, keepalive_term);
  r.check_answered(check, found, check_term);
}

TEST(Terms, FiguresOfTheDesign) {
  EXPECT_EQ(deadline(at(0ms), 5s), at(4200ms));
  EXPECT_EQ(deadline(at(0ms), 2s), at(1500ms));
  EXPECT_EQ(renewal_interval(30s), 1s);
  EXPECT_EQ(renewal_interval(1500ms), 500ms);
}

TEST(Renewal, CountsFromTheSendTime) {
  auto r = holder();
  EXPECT_FALSE(r.held_until());
  round(r, 1000ms);
  EXPECT_EQ(r.held_until(), at(1000ms) + 4200ms);
}

TEST(Renewal, TheKeepAliveAloneProvesNothing) {
  auto r = holder();
  r.keepalive_sent(0, at(1000ms));
  r.keepalive_answered(0, 77, 5, 3);
  EXPECT_FALSE(r.held_until());
}

TEST(Renewal, ACheckSentBeforeTheKeepAliveProvesNothing) {
  auto r = holder();
  auto check = r.check_sent(at(900ms));
  r.keepalive_sent(0, at(1000ms));
  r.keepalive_answered(0, 77, 5, 3);
  r.check_answered(check, kMine, 3);
  EXPECT_FALSE(r.held_until());
}

TEST(Renewal, TermsMustAgree) {
  auto r = holder();
  round(r, 1000ms, kMine, 3, 4);
  EXPECT_FALSE(r.held_until());
  round(r, 2000ms, kMine, 4, 4);
  EXPECT_EQ(r.held_until(), at(2000ms) + 4200ms);
}

TEST(Renewal, AnotherKeyIsALoss) {
  for (const KeyCheck& found :
       {KeyCheck{"pg2", 77, 10}, KeyCheck{"pg1", 78, 10}, KeyCheck{"pg1", 77, 11}, KeyCheck{}}) {
    auto r = holder();
    round(r, 1000ms);
    round(r, 2000ms, found);
    EXPECT_EQ(r.state(), Renewal::State::key_lost);
    EXPECT_FALSE(r.held_until());
    round(r, 3000ms);
    EXPECT_FALSE(r.held_until()) << "a loss is final for the epoch";
  }
}

TEST(Renewal, ALostLeaseIsFinal) {
  auto r = holder();
  round(r, 1000ms);
  r.keepalive_sent(0, at(2000ms));
  r.keepalive_answered(0, 77, 0, 3);
  EXPECT_EQ(r.state(), Renewal::State::lease_lost);
  round(r, 3000ms);
  EXPECT_FALSE(r.held_until());
}

TEST(Renewal, AnAnswerIsCreditedToTheOldestRequest) {
  auto r = holder();
  r.keepalive_sent(0, at(1000ms));
  r.keepalive_sent(0, at(2000ms));
  auto check = r.check_sent(at(2000ms));
  r.keepalive_answered(0, 77, 5, 3);
  r.check_answered(check, kMine, 3);
  EXPECT_EQ(r.counted(), at(1000ms));
  r.keepalive_answered(0, 77, 5, 3);
  EXPECT_EQ(r.counted(), at(2000ms));
}

TEST(Renewal, ABrokenStreamsRequestsAreForgotten) {
  auto r = holder();
  r.keepalive_sent(0, at(1000ms));
  r.stream_broken(0);
  r.keepalive_sent(0, at(2000ms));
  auto check = r.check_sent(at(2000ms));
  r.keepalive_answered(0, 77, 5, 3);
  r.check_answered(check, kMine, 3);
  EXPECT_EQ(r.counted(), at(2000ms));
}

TEST(Renewal, ALateAnswerNeverMovesTheDeadlineBack) {
  auto r = holder();
  r.keepalive_sent(0, at(1000ms));
  r.keepalive_sent(1, at(1500ms));
  auto check = r.check_sent(at(1500ms));
  r.keepalive_answered(1, 77, 5, 3);
  r.check_answered(check, kMine, 3);
  r.keepalive_answered(0, 77, 5, 3);
  EXPECT_EQ(r.counted(), at(1500ms));
}

TEST(Renewal, AnEarlierKeepAliveOfTheLeaseCountsOnceACheckProvesTheKey) {
  Renewal r;
  r.adopt(77, 5s, at(0ms));
  r.keepalive_sent(0, at(1000ms));
  r.keepalive_answered(0, 77, 5, 3);
  auto early = r.check_sent(at(1100ms));
  r.hold(kEpoch, "pg1");
  r.check_answered(early, kMine, 3);
  EXPECT_FALSE(r.held_until()) << "sent before the key was held";
  auto check = r.check_sent(at(1200ms));
  r.check_answered(check, kMine, 3);
  EXPECT_EQ(r.held_until(), at(1000ms) + 4200ms);
}

TEST(Renewal, AnswersForAnotherLeaseAreIgnored) {
  auto r = holder();
  auto check = r.check_sent(at(1000ms));
  r.keepalive_sent(0, at(1000ms));
  r.adopt(99, 5s, at(1500ms));
  r.check_answered(check, kMine, 3);
  r.keepalive_answered(0, 77, 0, 3);
  EXPECT_EQ(r.state(), Renewal::State::alive);
  EXPECT_EQ(r.counted(), at(1500ms));
}

TEST(Renewal, WithoutAKeyTheLeaseAloneCounts) {
  Renewal r;
  r.adopt(77, 5s, at(0ms));
  r.keepalive_sent(0, at(1000ms));
  r.keepalive_answered(0, 77, 5, 3);
  EXPECT_EQ(r.counted(), at(1000ms));
  EXPECT_FALSE(r.held_until());
}

}  // namespace
}  // namespace pgsteady::lease
