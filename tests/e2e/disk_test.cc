// A primary that is there and serves nobody: its disk is full or hangs, its recovery takes too
// long, its promotion does not end. Another one leads, and it comes back as a replica.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;

bool freeze(const fs::path& place, bool on) {
  int fd = open(place.c_str(), O_RDONLY | O_CLOEXEC);
  bool done = fd >= 0 && ioctl(fd, on ? FIFREEZE : FITHAW, 0) == 0;
  if (fd >= 0) close(fd);
  return done;
}

int shell(const std::string& command) {
  return std::system(command.c_str());
}

// A file system of its own for one node's data directory, made as root. Goes with the object.
class Disk {
 public:
  explicit Disk(fs::path place) : place_(std::move(place)) { fs::create_directories(place_); }
  ~Disk() {
    if (frozen_) thaw();
    if (mounted_) umount2(place_.c_str(), MNT_DETACH);
    if (rescuer_ > 0) {
      kill(rescuer_, SIGKILL);
      waitpid(rescuer_, nullptr, 0);
    }
  }

  bool mount_memory(int megabytes) {
    auto options = "mode=0700,size=" + std::to_string(megabytes) +
                   "m,uid=" + std::to_string(server_user().uid) +
                   ",gid=" + std::to_string(server_user().gid);
    return mounted_ = mount("pgsteady", place_.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }

  bool mount_loop(const fs::path& image, int megabytes) {
    auto quiet = " >/dev/null 2>&1";
    auto size = std::to_string(megabytes) + "M ";
    mounted_ = shell("truncate -s " + size + image.string()) == 0 &&
               shell("mkfs.ext4 -q -F " + image.string() + quiet) == 0 &&
               shell("mount -o loop " + image.string() + " " + place_.string() + quiet) == 0;
    if (!mounted_) return false;
    fs::remove(place_ / "lost+found");
    fs::permissions(place_, fs::perms::owner_all);
    return chown(place_.c_str(), server_user().uid, server_user().gid) == 0;
  }

  // Thawed by a process of its own if this one does not come to it.
  bool hang() {
    rescuer_ = fork();
    if (rescuer_ == 0) {
      sleep(150);
      freeze(place_, false);
      _exit(0);
    }
    return frozen_ = freeze(place_, true);
  }
  bool thaw() {
    frozen_ = false;
    return freeze(place_, false);
  }

 private:
  fs::path place_;
  bool mounted_ = false, frozen_ = false;
  pid_t rescuer_ = 0;
};

class Disks : public E2e {
 protected:
  void SetUp() override {
    E2e::SetUp();
    ClusterOptions options;
    options.nodes = 2;
    options.dcs.push_back("primary_start_timeout: 5");
    prepare(options);
  }
  void TearDown() override {
    if (disk_) disk_->thaw();
    E2e::TearDown();
    disk_.reset();
  }

  Node& first() { return cluster().node(0); }
  Disk& disk_of_first() {
    disk_ = std::make_unique<Disk>(first().data());
    return *disk_;
  }
  // The first node leads, the second follows.
  void begin() {
    first().start();
    ASSERT_TRUE(cluster().wait_primary(kLong));
    cluster().start_all();
    ASSERT_TRUE(cluster().wait_healthy(kLong));
    ASSERT_EQ(cluster().primary(), &first());
    watch();
  }
  bool second_leads() { return cluster().node(1).role() == "primary"; }
  bool log_says(const Node& node, const std::string& words) {
    return tail(node.log(), 400).find(words) != std::string::npos;
  }

  std::unique_ptr<Disk> disk_;
};

TEST_F(Disks, AFullDiskCostsTheLock) {
  if (!disk_of_first().mount_memory(160)) GTEST_SKIP() << "a file system cannot be mounted here";
  begin();
  auto filler = first().data() / "filler";
  shell("dd if=/dev/zero of=" + filler.string() + " bs=64k 2>/dev/null");
  // The next segment does not fit any more.
  ask(first().superuser(), "select pg_switch_wal()");
  EXPECT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  EXPECT_TRUE(writer().wait_acks(50, kLong));
  fs::remove(filler);
  expect_recovered();
  EXPECT_EQ(first().role(), "standby");
  expect_no_split();
}

TEST_F(Disks, AHungDiskCostsTheLock) {
  if (!disk_of_first().mount_loop(dir_.path() / "disk.img", 400)) {
    GTEST_SKIP() << "a file system cannot be mounted here";
  }
  begin();
  ASSERT_TRUE(disk_->hang());
  EXPECT_TRUE(eventually(kLong, [&] { return second_leads(); }));
  EXPECT_TRUE(log_says(first(), "commits make no progress"));
  EXPECT_TRUE(writer().wait_acks(50, kLong));
  EXPECT_TRUE(watcher_->splits().empty());
  ASSERT_TRUE(disk_->thaw());
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
