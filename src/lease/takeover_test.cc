#include "lease/takeover.h"

#include <gtest/gtest.h>

namespace pgsteady::lease {
namespace {

using namespace std::chrono_literals;

constexpr Instant at(std::chrono::milliseconds ms) {
  return Instant(Duration(ms));
}
constexpr Epoch kKey{77, 10};

LeasePoll poll(std::chrono::milliseconds sent, std::int64_t remaining, std::uint64_t term = 1) {
  return {77, remaining, 5, term, at(sent), at(sent + 2ms)};
}

TEST(Takeover, WaitsAFullTtlWithoutAnyProof) {
  Takeover t;
  t.key_seen(kKey);
  EXPECT_FALSE(t.safe_at());
  t.key_gone(at(1000ms), 5s);
  EXPECT_EQ(t.safe_at(), at(6000ms));
}

TEST(Takeover, NeverSeenAnyLeaderIsNoProofEither) {
  Takeover t;
  t.key_gone(at(0ms), 5s);
  EXPECT_EQ(t.safe_at(), at(5000ms));
}

TEST(Takeover, AReleaseIsTakenAtOnce) {
  Takeover t;
  t.key_seen(kKey);
  t.key_gone(at(1000ms), 5s);
  t.released();
  EXPECT_EQ(t.safe_at(), at(1000ms));
}

// The lease's true end is 10000 ms: polls see floor(end - now).
Takeover polled_until(std::chrono::milliseconds last) {
  Takeover t;
  t.key_seen(kKey);
  for (auto now = 6000ms; now <= last; now += 100ms) {
    t.polled(poll(now, std::max(0ms, 10000ms - now) / 1s));
  }
  t.read(at(last), 1);
  return t;
}

// 20 s of etcd's are 18 s of this node's: a lease of 30 s that was renewed just after the first
// poll has 10 s left at the second one.
TEST(Takeover, ASlowClockDoesNotHideARenewal) {
  Takeover t;
  t.key_seen(kKey);
  t.polled({77, 25, 30, 1, at(0ms), at(2ms)});
  t.polled({77, 10, 30, 1, at(18000ms), at(18002ms)});
  EXPECT_EQ(t.ends_before(), at(29002ms));
}

TEST(Takeover, TheNaturalEndNeedsNoMoreWaiting) {
  auto t = polled_until(9900ms);
  t.key_gone(at(10300ms), 5s);
  EXPECT_EQ(t.safe_at(), at(10300ms));
}

TEST(Takeover, AKeyWhoseLeaseHasEndedNeedNotBeDeletedFirst) {
  auto t = polled_until(10200ms);
  ASSERT_TRUE(t.safe_at());
  EXPECT_GE(*t.safe_at(), at(10000ms));
  EXPECT_LE(*t.safe_at(), at(10200ms));
  EXPECT_EQ(t.over_at(), t.safe_at());
  t.polled({77, 4, 5, 1, at(10300ms), at(10302ms)});  // renewed too late for its guardian
  EXPECT_FALSE(t.safe_at()) << "but the key is its again";
}

TEST(Takeover, TheEndIsSeenOnceMoreBeforeTheKeyIsTaken) {
  auto t = polled_until(9900ms);
  EXPECT_LE(t.ends_before(), at(10200ms));
  EXPECT_FALSE(t.safe_at());
  t.polled(poll(10200ms, 0));
  EXPECT_TRUE(t.safe_at());
}

// Its figure, 2^63 ns in seconds, does not fit into nanoseconds once a second is added.
TEST(Takeover, AnEtcdLeaderThatKnowsNoEndYetProvesNothing) {
  Takeover t;
  t.key_seen(kKey);
  t.polled(poll(6000ms, 4));
  t.polled(poll(6100ms, 9223372036, 2));
  EXPECT_FALSE(t.safe_at());
  EXPECT_FALSE(t.ends_before());
  t.key_gone(at(6200ms), 5s);
  EXPECT_EQ(t.safe_at(), at(11200ms));
}

TEST(Takeover, APollOutsideTheMarginProvesNothing) {
  Takeover t;
  t.key_seen(kKey);
  t.polled(poll(9100ms, 0));
  EXPECT_FALSE(t.safe_at());
  auto gone = t;
  gone.key_gone(at(9200ms), 5s);
  EXPECT_EQ(gone.safe_at(), at(14200ms));
  EXPECT_FALSE(t.wants_read());
  t.polled(poll(9400ms, 0));
  EXPECT_TRUE(t.wants_read());
  t.read(at(9410ms), 1);
  t.key_gone(at(9500ms), 5s);
  EXPECT_EQ(t.safe_at(), at(10102ms));
}

TEST(Takeover, PollsProveNothingUnlessTheirEtcdLeaderStillLed) {
  struct {
    std::chrono::milliseconds sent;
    std::uint64_t term;
    bool proven;
  } rows[] = {{9410ms, 1, true}, {9399ms, 1, false}, {9410ms, 2, false}};
  for (auto row : rows) {
    Takeover t;
    t.key_seen(kKey);
    t.polled(poll(9100ms, 0));
    t.polled(poll(9400ms, 0));
    t.read(at(row.sent), row.term);
    t.key_gone(at(9500ms), 5s);
    EXPECT_EQ(t.safe_at(), row.proven ? at(10102ms) : at(14500ms))
        << row.sent.count() << " " << row.term;
  }
}

TEST(Takeover, ARevocationJustBeforeTheEndWaitsForTheEnd) {
  auto t = polled_until(9900ms);
  t.key_gone(at(9950ms), 5s);
  ASSERT_TRUE(t.safe_at());
  EXPECT_GE(*t.safe_at(), at(10000ms));
  EXPECT_LE(*t.safe_at(), at(10200ms));
}

TEST(Takeover, ARevocationInTheMiddleWaitsAFullTtl) {
  Takeover t;
  t.key_seen(kKey);
  t.polled(poll(1000ms, 4));
  t.polled(poll(1100ms, 4));
  t.key_gone(at(1200ms), 5s);
  EXPECT_EQ(t.safe_at(), at(6200ms));
}

TEST(Takeover, APollThatIsTooOldProvesNothing) {
  Takeover t;
  t.key_seen(kKey);
  t.polled(poll(1000ms, 2));  // ends before 4002 ms; a renewal may follow unseen
  t.key_gone(at(4100ms), 5s);
  EXPECT_EQ(t.safe_at(), at(9100ms));
}

TEST(Takeover, ARenewalBetweenPollsMovesTheBound) {
  Takeover t;
  t.key_seen(kKey);
  t.polled(poll(1000ms, 0));
  EXPECT_EQ(t.ends_before(), at(2002ms));
  t.polled(poll(1500ms, 4));
  EXPECT_EQ(t.ends_before(), at(6502ms));
  t.key_gone(at(2100ms), 5s);
  EXPECT_EQ(t.safe_at(), at(7100ms));
}

TEST(Takeover, ANewRaftTermMakesTheOldBoundWorthless) {
  Takeover t;
  t.key_seen(kKey);
  t.polled(poll(1000ms, 1));
  t.polled(poll(1500ms, 1, 2));  // the new etcd leader may have started the lease anew
  EXPECT_EQ(t.ends_before(), at(3502ms));
}

TEST(Takeover, ANewLeaderStartsOver) {
  auto t = polled_until(10200ms);
  t.key_gone(at(10300ms), 5s);
  t.key_seen({78, 20});
  EXPECT_FALSE(t.safe_at());
  t.key_gone(at(11000ms), 5s);
  EXPECT_EQ(t.safe_at(), at(16000ms));
}

}  // namespace
}  // namespace pgsteady::lease
