#include "harness/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "base/process.h"

namespace pgsteady::testing {
namespace fs = std::filesystem;
namespace {

constexpr Millis kLimit{30000};

void check(int result, const std::string& what) {
  if (result < 0) throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Once for each thread that mounts.
void hide_mounts() {
  thread_local bool hidden = false;
  if (hidden) return;
  check(unshare(CLONE_NEWNS), "cannot make a mount namespace");
  check(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "cannot make mounts private");
  hidden = true;
}

void hand_over(const fs::path& path) {
  check(chown(path.c_str(), server_user().uid, server_user().gid), "cannot hand over a disk");
  fs::permissions(path, fs::perms::owner_all);
}

void run(const std::vector<std::string>& argv) {
  auto result = run_process(argv, {}, kLimit);
  if (!result) throw std::runtime_error(result.error().text());
  if (result->exit_code != 0) throw std::runtime_error(argv.front() + ": " + result->output);
}

fs::path ballast(const fs::path& disk) {
  return disk / "ballast";
}

}  // namespace

void fill_disk(const fs::path& disk) {
  int fd = open(ballast(disk).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  check(fd, "cannot open the ballast");
  off_t size = 0;
  for (off_t step = off_t{1} << 30; step >= 4096; step /= 2) {
    while (fallocate(fd, 0, size, step) == 0) size += step;
  }
  close(fd);
}

void clear_disk(const fs::path& disk) {
  fs::remove(ballast(disk));
}

std::string SmallDisk::missing() {
  return geteuid() == 0 ? "" : "mounting a file system needs root";
}

SmallDisk::SmallDisk(fs::path path, int megabytes) : path_(std::move(path)) {
  hide_mounts();
  fs::create_directories(path_);
  const auto options = fmt::format("size={}m,mode=0700", megabytes);
  check(mount("tmpfs", path_.c_str(), "tmpfs", 0, options.c_str()), "cannot mount a tmpfs");
  hand_over(path_);
}

SmallDisk::~SmallDisk() {
  umount2(path_.c_str(), MNT_DETACH);
}

std::string FreezableDisk::missing() {
  if (geteuid() != 0) return "mounting a file system needs root";
  if (access("/dev/loop-control", R_OK | W_OK) != 0) return "there is no /dev/loop-control";
  return "";
}

FreezableDisk::FreezableDisk(fs::path path, int megabytes) : path_(std::move(path)) {
  hide_mounts();
  fs::create_directories(path_);
  const auto image = path_.string() + ".image";
  run({"truncate", "-s", fmt::format("{}M", megabytes), image});
  run({"mkfs.ext4", "-q", "-F", image});
  run({"mount", "-o", "loop", image, path_});  // the loop device goes with the mount
  fs::remove(path_ / "lost+found");
  hand_over(path_);
}

FreezableDisk::~FreezableDisk() {
  thaw();
  umount2(path_.c_str(), 0);
}

void FreezableDisk::freeze() {
  if (helper_ != 0) return;
  int disk = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  check(disk, "cannot open the disk");
  int ends[2];
  check(pipe2(ends, O_CLOEXEC), "cannot make a pipe");
  helper_ = fork();
  if (helper_ == 0) {  // system calls only: other threads may hold locks
    setpgid(0, 0);
    close(ends[1]);
    char byte = 0;
    while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    _exit(ioctl(disk, FITHAW, 0) == 0 ? 0 : 1);
  }
  close(ends[0]);
  hold_ = ends[1];
  const int frozen = ioctl(disk, FIFREEZE, 0);
  close(disk);
  check(helper_, "cannot start the helper that thaws");
  check(frozen, "cannot freeze");
}

void FreezableDisk::thaw() {
  if (helper_ == 0) return;
  close(hold_);
  waitpid(helper_, nullptr, 0);  // fails when orphans were reaped in between: it has ended, too
  helper_ = 0;
}

}  // namespace pgsteady::testing
