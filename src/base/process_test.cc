#include "base/process.h"

#include <gtest/gtest.h>

namespace pgsteady {
namespace {

using std::chrono::milliseconds;

TEST(RunProcess, GivesOutputAndExitCode) {
  auto result = run_process({"sh", "-c", "echo $GREETING; echo err >&2; exit 3"},
                            {"GREETING=hello"}, milliseconds(5000));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->output, "hello\nerr\n");
}

TEST(RunProcess, KillsAtTheDeadline) {
  auto result = run_process({"sleep", "30"}, {}, milliseconds(50));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::retry);
}

TEST(RunProcess, NamesAMissingProgram) {
  auto result = run_process({"/no/such/program"}, {}, milliseconds(500));
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("/no/such/program"), std::string::npos);
}

}  // namespace
}  // namespace pgsteady
