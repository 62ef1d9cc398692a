#include <gtest/gtest.h>

#include "core/testing.h"

namespace pgsteady::core::testing {
namespace {

TEST(Decide, IsAFunctionOfItsArguments) {
  auto c = Case().leaderless();
  auto one = c.decide();
  auto two = c.decide();
  EXPECT_EQ(one.reasons, two.reasons);
  EXPECT_EQ(one.next_wake, two.next_wake);
  EXPECT_EQ(one.actions.size(), two.actions.size());
}

}  // namespace
}  // namespace pgsteady::core::testing
