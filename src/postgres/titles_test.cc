#include "postgres/titles.h"

#include <gtest/gtest.h>

namespace pgsteady::pg {
namespace {

TEST(Titles, OfAServerThatRecovers) {
  RecoveryTitles found;
  add_title(found, "postgres: demo: checkpointer ");
  add_title(found, "postgres: demo: startup ");
  EXPECT_EQ(found.recovering, "");
  add_title(found,
            "postgres: demo: startup recovering 000000020000000000000003" + std::string(3, 0));
  EXPECT_EQ(found.recovering, "0000000000000003");
  add_title(found, "postgres: demo: startup waiting for 000000010000000000000004");
  EXPECT_EQ(found.recovering, "0000000000000004");
  EXPECT_FALSE(found.receiving);
  add_title(found, "postgres: demo: walreceiver ");
  EXPECT_FALSE(found.receiving);
  add_title(found, "postgres: demo: walreceiver streaming 0/3000148");
  EXPECT_TRUE(found.receiving);
}

TEST(Titles, OfNoSuchProcess) {
  EXPECT_EQ(recovery_titles(0).recovering, "");
}

}  // namespace
}  // namespace pgsteady::pg
