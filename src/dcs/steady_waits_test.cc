#include "dcs/steady_waits.h"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <fstream>
#include <thread>

namespace pgsteady::dcs {
namespace {

// What the kernel says a thread waits in: a call's number and arguments; "running" otherwise.
struct Waiting {
  explicit Waiting(pid_t thread) {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/syscall");
    std::string address, operation_text;
    if (file >> number >> address >> operation_text) operation = std::stol(operation_text, {}, 16);
  }
  long number = -1;
  long operation = 0;
};

TEST(SteadyWaits, AWaitForTheWallClockIsMadeByAnother) {
  ASSERT_TRUE(waits_are_steady());
  std::atomic<pid_t> thread{0};
  int word = 0;
  int problem = 0;
  std::thread sleeper([&] {
    thread = gettid();
    timespec until{};
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    auto answer = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0,
                          &until, nullptr, FUTEX_BITSET_MATCH_ANY);
    problem = answer == 0 ? 0 : errno;
  });
  while (thread == 0) std::this_thread::yield();
  Waiting seen(thread);
  for (int tried = 0; seen.number != SYS_futex && tried < 900; ++tried) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    seen = Waiting(thread);
  }
  sleeper.join();
  EXPECT_EQ(seen.number, SYS_futex);
  EXPECT_EQ(seen.operation & FUTEX_CMD_MASK, FUTEX_WAIT_BITSET);
  EXPECT_EQ(seen.operation & FUTEX_CLOCK_REALTIME, 0);
  EXPECT_EQ(problem, ETIMEDOUT);
}

TEST(SteadyWaits, OneThatIsOverEndsAtOnceAndOtherCallsPass) {
  int word = 0;
  timespec long_ago{};
  EXPECT_EQ(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0,
                    &long_ago, nullptr, FUTEX_BITSET_MATCH_ANY),
            -1);
  EXPECT_EQ(errno, ETIMEDOUT);
  EXPECT_EQ(syscall(SYS_getpid), getpid());
}

}  // namespace
}  // namespace pgsteady::dcs
