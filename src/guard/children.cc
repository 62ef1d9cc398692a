#include "guard/children.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pgsteady::guard {
namespace {

constexpr int kDepthLimit = 64;  // of the process tree; deeper ones are adopted as it dies

// Gives -1 when the file is not there: the process is gone, or the kernel has no such file.
ssize_t read_some(int fd, char* data, std::size_t bytes) {
  ssize_t n = 0;
  do {
    n = read(fd, data, bytes);
  } while (n < 0 && errno == EINTR);
  return n;
}

// The kernel's own list, of the main thread's children (a server has no other threads). It may
// leave out some while others exit, so an empty one proves nothing.
bool listed_children(pid_t pid, std::vector<pid_t>& out) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char data[4096];
  pid_t number = 0;
  for (ssize_t n; (n = read_some(fd, data, sizeof data)) > 0;) {
    for (ssize_t i = 0; i < n; ++i) {
      if (std::isdigit(static_cast<unsigned char>(data[i]))) {
        number = number * 10 + (data[i] - '0');
      } else if (number != 0) {
        out.push_back(number);
        number = 0;
      }
    }
  }
  if (number != 0) out.push_back(number);
  close(fd);
  return true;
}

// 0 when the process is gone.
pid_t parent_of(pid_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char data[512];
  ssize_t n = read_some(fd, data, sizeof data - 1);
  close(fd);
  if (n <= 0) return 0;
  data[n] = 0;
  const char* name_end = std::strrchr(data, ')');  // the name may hold anything
  int parent = 0;
  return name_end != nullptr && std::sscanf(name_end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

// A walk over all of /proc: slow, but nothing that lives throughout is missed.
std::vector<pid_t> scanned_children(pid_t of) {
  std::vector<pid_t> found;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return found;
  while (dirent* entry = readdir(proc)) {
    auto pid = static_cast<pid_t>(std::atoi(entry->d_name));
    if (pid > 0 && parent_of(pid) == of) found.push_back(pid);
  }
  closedir(proc);
  return found;
}

bool contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

void kill_tree(pid_t pid, int depth) {
  kill(pid, SIGKILL);
  if (depth >= kDepthLimit) return;
  std::vector<pid_t> children;
  listed_children(pid, children);
  for (pid_t child : children) kill_tree(child, depth + 1);
}

std::size_t kill_listed(const std::vector<pid_t>& children, const std::vector<pid_t>& spared) {
  std::size_t left = 0;
  for (pid_t child : children) {
    if (contains(spared, child)) continue;
    ++left;
    kill_tree(child, 0);
  }
  return left;
}

}  // namespace

bool can_see_children() {
  return parent_of(getpid()) == getppid();
}

std::vector<pid_t> children_of_self() {
  return scanned_children(getpid());
}

std::size_t kill_descendants(const std::vector<pid_t>& spared) {
  std::vector<pid_t> children;
  listed_children(getpid(), children);
  auto left = kill_listed(children, spared);
  return left > 0 ? left : kill_listed(children_of_self(), spared);
}

}  // namespace pgsteady::guard
