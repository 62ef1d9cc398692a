#include "guard/heir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

#include "guard/spawn.h"

namespace pgsteady::guard {
namespace {

constexpr int kOrphaned = SIGUSR1;
constexpr int kQuietPasses = 3;  // a process may be in the midst of starting another
constexpr int kPassLimit = 500;  // 5 s: what does not die by then hangs in the kernel
constexpr long kPauseNs = 10'000'000;

struct Place {
  dev_t device = 0;
  ino_t inode = 0;
};

bool look_up(const char* path, Place& out) {
  struct stat found {};
  if (stat(path, &found) != 0) return false;
  out = {found.st_dev, found.st_ino};
  return true;
}

bool is_at(const char* link, pid_t pid, const Place& place) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/%s", pid, link);
  Place found;
  return look_up(path, found) && found.device == place.device && found.inode == place.inode;
}

// Whether the environment it was started with has the server's mark.
bool is_marked(pid_t pid) {
  char path[64], text[4096];
  std::snprintf(path, sizeof path, "/proc/%d/environ", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const std::string_view mark(kServerMark);
  std::size_t matched = 0;  // of the entry that is read; npos: it is another
  bool found = false;
  for (ssize_t n = 0; !found && (n = read(file, text, sizeof text)) > 0;) {
    for (char c : std::string_view(text, static_cast<std::size_t>(n))) {
      found = found || (c == 0 && matched == mark.size());
      matched = c == 0 ? 0 : matched < mark.size() && c == mark[matched] ? matched + 1 : mark.npos;
    }
  }
  close(file);
  return found;
}

// In ticks since the machine's start, field 22 of its stat; the largest when it is gone.
std::uint64_t started_at(pid_t pid) {
  char path[64], text[1024];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = file < 0 ? 0 : read(file, text, sizeof text - 1);
  if (file >= 0) close(file);
  text[std::max<ssize_t>(n, 0)] = 0;
  const char* field = std::strrchr(text, ')');  // the end of the second, which may hold anything
  for (int number = 2; field != nullptr && number < 22; ++number)
    field = std::strchr(field + 1, ' ');
  return field == nullptr ? UINT64_MAX : std::strtoull(field, nullptr, 10);
}

std::uint64_t ticks_now() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  auto rate = static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  return static_cast<std::uint64_t>(now.tv_sec) * rate +
         static_cast<std::uint64_t>(now.tv_nsec) * rate / 1'000'000'000;
}

struct Server {
  Place program, directory;
  // When the guardian died: what started later is the next one's.
  std::uint64_t until = UINT64_MAX;
  // The server's own processes first: a look at another's environment may have to wait for its
  // memory.
  bool marked_too = false;

  bool owns(pid_t pid) const {
    if (!is_at("cwd", pid, directory) || started_at(pid) > until) return false;
    return is_at("exe", pid, program) || (marked_too && is_marked(pid));
  }
};

// Whether `pid` is the server's. The descriptor stands for the process that was looked at: its
// number may be another's by the time of the kill.
bool kill_if_owned(const Server& server, pid_t pid) {
  if (!server.owns(pid)) return false;
  auto process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process < 0) return errno == ENOSYS && kill(pid, SIGKILL) == 0;
  bool owned = server.owns(pid);
  if (owned) syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0);
  close(process);
  return owned;
}

int kill_all(const Server& server) {
  int met = 0;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return met;
  while (dirent* entry = readdir(proc)) {
    auto pid = static_cast<pid_t>(std::atoi(entry->d_name));
    if (pid > 0 && kill_if_owned(server, pid)) ++met;
  }
  closedir(proc);
  return met;
}

void kill_until_quiet(const Server& server) {
  for (int pass = 0, quiet = 0; pass < kPassLimit && quiet < kQuietPasses; ++pass) {
    quiet = kill_all(server) == 0 ? quiet + 1 : 0;
    timespec pause{0, kPauseNs};
    nanosleep(&pause, nullptr);
  }
}

void sleep_until_orphaned(pid_t guardian) {
  sigset_t orphaned;
  sigemptyset(&orphaned);
  sigaddset(&orphaned, kOrphaned);
  while (getppid() == guardian) {
    int signal = 0;
    sigwait(&orphaned, &signal);
  }
}

[[noreturn]] void wait_and_kill(pid_t guardian, const char* program, const char* directory) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  std::signal(kOrphaned, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, kOrphaned);
  prctl(PR_SET_NAME, "pgsteady-heir");
  setsid();
  close_from(STDIN_FILENO);
  mlockall(MCL_CURRENT | MCL_FUTURE);  // locks are not inherited
  Server server;
  if (!look_up(program, server.program) || !look_up(directory, server.directory)) _exit(1);
  sleep_until_orphaned(guardian);
  server.until = ticks_now() + 1;
  kill_until_quiet(server);
  server.marked_too = true;
  kill_until_quiet(server);
  _exit(0);
}

}  // namespace

pid_t start_heir(const std::string& program, const std::string& directory) {
  pid_t guardian = getpid();
  pid_t pid = fork();
  if (pid == 0) wait_and_kill(guardian, program.c_str(), directory.c_str());
  return pid;
}

}  // namespace pgsteady::guard
