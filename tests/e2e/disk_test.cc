// A primary that is there and serves nobody: its disk is full or hangs, its recovery takes too
// long, its promotion does not end. Another one leads, and it comes back as a replica.
#include <csignal>

#include "fixture.h"
#include "harness/disk.h"

namespace pgsteady::testing {
namespace {

class Disks : public E2e {
 protected:
  void SetUp() override {
    E2e::SetUp();
    ClusterOptions options;
    options.nodes = 2;
    options.memory_in_data = false;  // it would hang with the disk
    options.dcs.push_back("primary_start_timeout: 5");
    prepare(options);
  }
  void TearDown() override {
    if (hanging_) hanging_->thaw();
    if (!HasFatalFailure()) stop_nodes();
    E2e::TearDown();
    small_.reset();
    hanging_.reset();
  }

  Node& first() { return cluster().node(0); }
  // The first node leads, the second follows.
  void begin() {
    first().start();
    ASSERT_TRUE(cluster().wait_primary(kLong));
    cluster().start_all();
    ASSERT_TRUE(cluster().wait_healthy(kLong));
    ASSERT_EQ(cluster().primary(), &first());
    watch();
  }
  // A server that is killed leaves its dynamic shared memory in /dev/shm.
  void stop_nodes() {
    for (auto* node : {&first(), &cluster().node(1)}) {
      if (node->running()) node->stop(kLong);
    }
  }
  bool second_leads() { return cluster().node(1).role() == "primary"; }
  bool log_says(const Node& node, const std::string& words) {
    return tail(node.log(), 400).find(words) != std::string::npos;
  }

  std::unique_ptr<SmallDisk> small_;
  std::unique_ptr<FreezableDisk> hanging_;
};

TEST_F(Disks, AFullDiskCostsTheLock) {
  if (auto why = SmallDisk::missing(); !why.empty()) GTEST_SKIP() << why;
  small_ = std::make_unique<SmallDisk>(first().data(), 160);
  begin();
  fill_disk(small_->path());
  // The next segment does not fit any more.
  ask(first().superuser(), "select pg_switch_wal()");
  EXPECT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  EXPECT_TRUE(writer().wait_acks(50, kLong));
  clear_disk(small_->path());
  expect_recovered();
  EXPECT_EQ(first().role(), "standby");
  expect_no_split();
}

TEST_F(Disks, AHungDiskCostsTheLock) {
  if (auto why = FreezableDisk::missing(); !why.empty()) GTEST_SKIP() << why;
  hanging_ = std::make_unique<FreezableDisk>(first().data(), 400);
  begin();
  hanging_->freeze();
  EXPECT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  EXPECT_TRUE(log_says(first(), "commits make no progress"));
  EXPECT_TRUE(writer().wait_acks(50, kLong));
  EXPECT_TRUE(watcher_->splits().empty());
  hanging_->thaw();
  expect_recovered();
  EXPECT_EQ(first().role(), "standby");
  expect_no_split();
}

// The log is a file, and everything that writes it would wait for ever.
TEST_F(Disks, AHungDiskBeneathTheLogHoldsNobodyUp) {
  if (auto why = FreezableDisk::missing(); !why.empty()) GTEST_SKIP() << why;
  hanging_ = std::make_unique<FreezableDisk>(first().dir / "logs", 40);
  std::filesystem::create_symlink(hanging_->path() / "node.log", first().log());
  begin();
  const pid_t server = first().postmaster();
  hanging_->freeze();
  let_pass(Millis(12000));
  expect_undisturbed(first(), server);
  // And the guardian, whose first word is that the agent is silent, still fences.
  kill_pids({first().agent()}, SIGSTOP);
  EXPECT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  EXPECT_TRUE(writer().wait_acks(50, kLong));
  EXPECT_TRUE(watcher_->splits().empty());
  hanging_->thaw();
  expect_recovered();
  EXPECT_EQ(first().role(), "standby");
  EXPECT_TRUE(log_says(first(), "the server is killed"));
  expect_no_split();
}

// Its sessions would go on for up to a minute; nobody new gets in.
TEST_F(Disks, ADataDirectoryThatIsRemovedUnderTheServerCostsTheLock) {
  begin();
  std::error_code some_files_come_and_go;
  for (int i = 0; i < 5 && std::filesystem::exists(first().data()); ++i) {
    std::filesystem::remove_all(first().data(), some_files_come_and_go);
  }
  ASSERT_FALSE(std::filesystem::exists(first().data()));
  ASSERT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  // It may also have ended by itself, when it wanted to make a file.
  EXPECT_TRUE(log_says(first(), "demoting self because the data directory is gone") ||
              log_says(first(), "releasing the leader key: the data directory is empty"));
  expect_recovered();
  EXPECT_EQ(first().role(), "standby");
  expect_no_split();
}

TEST_F(Disks, ATransactionThatIsLeftOpenIsNoHungDisk) {
  begin();
  writer().stop();
  watcher_->stop();
  ASSERT_TRUE(cluster().sql("create table open_one (i int)"));
  SqlClient client;
  ASSERT_TRUE(client.connect(first().superuser(), Millis(3000)));
  ASSERT_TRUE(client.query("begin", {}, Millis(3000)));
  ASSERT_TRUE(client.query("insert into open_one values (1)", {}, Millis(3000)));
  let_pass(Millis(12000));
  EXPECT_EQ(cluster().primary(), &first());
  EXPECT_TRUE(client.query("commit", {}, Millis(3000)));
}

// The child of the postmaster whose title holds the words.
pid_t child_of(const Node& node, const std::string& words) {
  for (pid_t child : children_of(node.postmaster())) {
    auto title = arguments_of(child);
    if (!title.empty() && title[0].find(words) != std::string::npos) return child;
  }
  return 0;
}

TEST_F(Disks, ACrashRecoveryThatTakesTooLongCostsTheLock) {
  begin();
  ASSERT_TRUE(cluster().sql("alter system set max_wal_size = '4GB'"));
  ASSERT_TRUE(cluster().sql("select pg_reload_conf()"));
  ASSERT_TRUE(cluster().sql("create table big as select i from generate_series(1, 3000000) i"));
  writer().stop();
  kill_pids({first().postmaster()}, SIGKILL);
  pid_t startup = 0;
  EXPECT_TRUE(eventually(
      kLong, [&] { return (startup = child_of(first(), "startup")) != 0; }, Millis(1)));
  kill_pids({startup}, SIGSTOP);
  EXPECT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  EXPECT_TRUE(log_says(first(), "the primary took too long to start"));
  EXPECT_TRUE(cluster().wait_healthy(kLong));
  EXPECT_EQ(first().role(), "standby");
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Disks, APromotionThatDoesNotEndCostsTheLock) {
  Node& third = cluster().add_node();
  begin();
  Node& second = cluster().node(1);
  // The third node is held back, so that the second wins; the second's recovery stands still.
  const pid_t agent = third.agent();
  kill_pids({child_of(second, "startup")}, SIGSTOP);
  kill_pids({agent, third.guardian()}, SIGSTOP);
  first().kill_everything();
  EXPECT_TRUE(eventually(kLong, [&] { return log_says(second, "promoted self to leader"); }));
  kill_pids({third.guardian(), agent}, SIGCONT);
  EXPECT_TRUE(eventually(kLong, [&] { return third.role() == "primary"; }));
  EXPECT_TRUE(log_says(second, "the promotion did not end"));
  first().start();
  expect_recovered();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
