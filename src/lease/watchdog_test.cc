#include "lease/watchdog.h"

#include "lease/failsafe.h"

#include <gtest/gtest.h>

namespace pgsteady::lease::testing {
namespace {

using namespace std::chrono_literals;

constexpr Instant kNow{100s};

TEST(Watchdog, FiresAMarginBeforeTheTtlIsOver) {
  EXPECT_EQ(watchdog_timeout(30s, 5), 25);
  EXPECT_EQ(watchdog_timeout(30s, -1), 15);
  EXPECT_EQ(watchdog_timeout(30s, 0), 27) << "a renewal has to fit in";
  EXPECT_EQ(watchdog_timeout(10s, 20), 5) << "a margin for a longer ttl";
  EXPECT_EQ(watchdog_timeout(5s, 5), 2);
  EXPECT_EQ(watchdog_timeout(2s, 5), 1);
}

TEST(Watchdog, NeverWaitsLongerThanTheLease) {
  for (auto ttl : {2s, 3s, 5s, 10s, 30s}) {
    auto usual = watchdog_timeout(ttl, 5);
    auto until = deadline(kNow, ttl);
    EXPECT_EQ(watchdog_timeout_at(kNow, until, ttl, usual), usual) << ttl.count();
    for (auto now = kNow; now < kNow + ttl + 1s; now += 50ms) {
      auto timeout = watchdog_timeout_at(now, until, ttl, usual);
      auto fires = timeout > 0 ? now + std::chrono::seconds(timeout) : now;
      EXPECT_LE(fires, std::max(now, kNow + ttl)) << ttl.count();
    }
    EXPECT_EQ(watchdog_timeout_at(kNow + ttl, until, ttl, usual), 0);
  }
}

// Each promise is for 5 s at most, however long the ttl is: the host need not go for that.
TEST(Watchdog, WaitsNoLongerThanAPromise) {
  auto until = deadline(kNow, kLongestPromise);
  EXPECT_EQ(watchdog_timeout_at(kNow, until, 30s, 25), 5);
  EXPECT_EQ(watchdog_timeout_at(kNow + 2500ms, until, 30s, 25), 2);
  EXPECT_EQ(watchdog_timeout_at(kNow + 4500ms, until, 30s, 25), 0);
}

}  // namespace
}  // namespace pgsteady::lease::testing
