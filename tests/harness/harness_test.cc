// The checks of the checkers: a watcher that never sees a split, or a process that outlives its
// owner, would make every end-to-end test worthless.
#include <gtest/gtest.h>

#include <csignal>

#include "harness/etcd.h"
#include "harness/process.h"
#include "harness/watcher.h"

namespace pgsteady::testing {
namespace {

Watcher::Probe probe(std::size_t node, unsigned timeline, int sent_ms, int acked_ms) {
  Clock::time_point zero{};
  return {node, timeline, zero + Millis(sent_ms), zero + Millis(acked_ms)};
}

TEST(WatcherTest, AnOldPrimaryThatWritesAfterTheNewOneIsASplit) {
  EXPECT_EQ(
      Watcher::find_splits({probe(0, 1, 0, 1), probe(1, 2, 10, 11), probe(0, 1, 12, 13)}).size(),
      1u);
  EXPECT_EQ(Watcher::count_stale({probe(0, 1, 0, 1), probe(1, 2, 10, 11), probe(0, 1, 12, 13)}),
            1u);
}

TEST(WatcherTest, TwoNodesOnOneTimelineAreASplit) {
  EXPECT_EQ(Watcher::find_splits({probe(0, 2, 0, 1), probe(1, 2, 10, 11)}).size(), 1u);
}

TEST(WatcherTest, HandingOverAndBackIsNone) {
  EXPECT_TRUE(
      Watcher::find_splits({probe(0, 1, 0, 1), probe(1, 2, 10, 11), probe(0, 3, 20, 21)}).empty());
}

TEST(WatcherTest, AnAcknowledgementThatOverlapsTheNewPrimarysFirstProvesNothing) {
  EXPECT_TRUE(Watcher::find_splits({probe(1, 2, 10, 11), probe(0, 1, 9, 12)}).empty());
}

TEST(ProcessTest, EndsWithItsObject) {
  TempDir dir;
  pid_t pid = 0;
  {
    Process sleeper({"sleep", "1000"}, dir.path() / "log");
    pid = sleeper.pid();
    EXPECT_TRUE(eventually(Millis(5000), [&] { return arguments_of(pid)[0] == "sleep"; }));
    sleeper.signal(SIGSTOP);
  }
  EXPECT_FALSE(alive(pid));
}

TEST(ProcessTest, OrphansAreFoundAndKilled) {
  adopt_orphans();
  TempDir dir;
  {
    Process shell({"sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & exec sleep 1000"},
                  dir.path() / "log");
    EXPECT_TRUE(eventually(Millis(5000), [&] { return descendants_of(shell.pid()).size() == 2; }));
  }
  EXPECT_EQ(descendants_of(getpid()).size(), 2u);
  kill_orphans();
  EXPECT_TRUE(descendants_of(getpid()).empty());
}

TEST(EtcdTest, KeepsItsKeysOverARestartAndLosesALeaderOfThree) {
  adopt_orphans();
  TempDir dir;
  Etcd etcd(dir.path(), 3);
  etcd.put("/service/x", "-1");
  int leader = -1;
  ASSERT_TRUE(eventually(Millis(10000), [&] { return (leader = etcd.leader()) >= 0; }));
  etcd.stop(leader);
  EXPECT_TRUE(eventually(Millis(20000), [&] { return etcd.leader() >= 0; }));
  EXPECT_EQ(etcd.get("/service/x"), "-1");
  EXPECT_EQ(etcd.keys("/service/"), std::vector<std::string>{"/service/x"});
  etcd.start(leader);
  EXPECT_TRUE(etcd.wait_healthy(Millis(20000)));
  EXPECT_TRUE(etcd.proposals().has_value());
}

}  // namespace
}  // namespace pgsteady::testing
