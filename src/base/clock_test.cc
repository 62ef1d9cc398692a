#include "base/clock.h"

#include <gtest/gtest.h>

namespace pgsteady {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kTime{1795442580s};  // 2026-11-23 14:03 UTC

TEST(Clock, ReadsTheTimesThatPeopleWrite) {
  for (const char* text : {"2026-11-23T14:03:00+00:00", "2026-11-23 14:03Z", "2026-11-23T14:03 UTC",
                           "2026-11-23T15:03:00.000000+01:00", "2026-11-23T15:03:00+0100",
                           "2026-11-23T12:33:00-01:30", "2026-11-23T15:03+01"}) {
    auto written = parse_time(text);
    ASSERT_TRUE(written) << text;
    EXPECT_EQ(written->time, kTime) << text;
    EXPECT_TRUE(written->has_zone) << text;
  }
  EXPECT_EQ(parse_time("2026-11-23T14:03:00.25Z")->time, kTime + 250ms);
  EXPECT_EQ(parse_time(iso_time(kTime + 123456us))->time, kTime + 123456us);
}

TEST(Clock, SaysWhenThereIsNoZone) {
  auto written = parse_time("2026-11-23T14:03:00");
  ASSERT_TRUE(written);
  EXPECT_FALSE(written->has_zone);
}

TEST(Clock, RefusesWhatIsNoTime) {
  for (const char* text : {"", "tomorrow", "2026-11-23", "2026-02-30T10:00Z", "2026-11-23T24:00Z",
                           "2026-11-23T14:03:00+01:00x", "2026-11-23T14:03:00.Z", "14:03Z"}) {
    EXPECT_FALSE(parse_time(text)) << text;
  }
}

}  // namespace
}  // namespace pgsteady
