// The checks of the checkers: a watcher that never sees a split, or a process that outlives its
// owner, would make every end-to-end test worthless.
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include "harness/disk.h"
#include "harness/etcd.h"
#include "harness/network.h"
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

// A datagram socket on a host of the network.
class Mailbox {
 public:
  static constexpr int kPort = 7000;

  Mailbox(const Network& network, const std::string& host) {
    network.enter(host);
    fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    auto own = at(network.address(host));
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
  }
  ~Mailbox() { close(fd_); }

  void send_to(const std::string& address) const {
    auto to = at(address);
    EXPECT_EQ(sendto(fd_, "hello", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 5);
  }
  bool receives(Millis limit) const {
    char buffer[16];
    pollfd p{fd_, POLLIN, 0};
    return poll(&p, 1, static_cast<int>(limit.count())) > 0 && recv(fd_, buffer, 16, 0) == 5;
  }

 private:
  static sockaddr_in at(const std::string& address) {
    sockaddr_in result{};
    result.sin_family = AF_INET;
    result.sin_port = htons(kPort);
    inet_pton(AF_INET, address.c_str(), &result.sin_addr);
    return result;
  }
  int fd_;
};

TEST(NetworkTest, LinksAreCutSlowedAndHealedInEachDirectionAlone) {
  if (auto why = Network::missing(); !why.empty()) GTEST_SKIP() << why;
  Network network({"left", "right"});
  Mailbox left(network, "left"), right(network, "right");
  const auto leftwards = [&] { return right.send_to(network.address("left")), &left; };
  const auto rightwards = [&] { return left.send_to(network.address("right")), &right; };
  EXPECT_TRUE(leftwards()->receives(Millis(2000)));
  EXPECT_TRUE(rightwards()->receives(Millis(2000)));
  network.set("left", "right", {.cut = true});
  EXPECT_FALSE(rightwards()->receives(Millis(200)));
  EXPECT_TRUE(leftwards()->receives(Millis(2000)));
  network.set("right", "left", {.delay = Millis(300)});
  EXPECT_FALSE(leftwards()->receives(Millis(200)));
  EXPECT_TRUE(left.receives(Millis(2000)));
  network.heal();
  EXPECT_TRUE(rightwards()->receives(Millis(2000)));
  network.cut({"left"}, {"right"});
  EXPECT_FALSE(leftwards()->receives(Millis(200)));
  network.set("right", "left", {.loss = 1});
  EXPECT_FALSE(leftwards()->receives(Millis(200)));
}

TEST(NetworkTest, AProcessRunsOnItsHostAndTheTestComesHome) {
  if (auto why = Network::missing(); !why.empty()) GTEST_SKIP() << why;
  const auto home = std::filesystem::read_symlink("/proc/thread-self/ns/net");
  {
    TempDir dir;
    Network network({"left", "right"});
    Process process({"cat", "/proc/net/fib_trie"}, dir.path() / "log", {}, network.space("right"));
    ASSERT_EQ(process.wait(Millis(5000)), 0);
    EXPECT_THAT(tail(dir.path() / "log", 100), ::testing::HasSubstr(network.address("right")));
    network.enter("left");
    EXPECT_NE(std::filesystem::read_symlink("/proc/thread-self/ns/net"), home);
  }
  EXPECT_EQ(std::filesystem::read_symlink("/proc/thread-self/ns/net"), home);
}

TEST(DiskTest, ASmallOneIsFullAndFreeAgain) {
  if (auto why = SmallDisk::missing(); !why.empty()) GTEST_SKIP() << why;
  TempDir dir;
  SmallDisk disk(dir.path() / "disk", 4);
  const auto write = [&] {
    return Process({"sh", "-c", "head -c 4096 /dev/zero >> " + (disk.path() / "file").string()},
                   dir.path() / "log")
        .wait(Millis(5000));
  };
  EXPECT_EQ(write(), 0);
  fill_disk(disk.path());
  EXPECT_NE(write(), 0);
  EXPECT_THAT(tail(dir.path() / "log", 10), ::testing::HasSubstr("No space left"));
  clear_disk(disk.path());
  EXPECT_EQ(write(), 0);
}

TEST(DiskTest, AFrozenOneHangsItsWritersUntilItIsThawed) {
  if (auto why = FreezableDisk::missing(); !why.empty()) GTEST_SKIP() << why;
  TempDir dir;
  {
    FreezableDisk disk(dir.path() / "disk", 16);
    disk.freeze();
    Process writer({"touch", disk.path() / "file"}, dir.path() / "log");
    EXPECT_FALSE(writer.wait(Millis(500)));
    EXPECT_EQ(state_of(writer.pid()), 'D');
    disk.thaw();
    EXPECT_EQ(writer.wait(Millis(5000)), 0);
    disk.freeze();  // the destructor thaws
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path() / "disk"));
}

}  // namespace
}  // namespace pgsteady::testing
