#include "guard/spawn.h"

#include "guard/heir.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

extern char** environ;

namespace pgsteady::guard {
namespace {

constexpr int kExecFailed = 127;

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

// Passwords in the agent's configuration: whoever may read a server's environment must not see
// them.
bool is_secret(std::string_view entry) {
  for (std::string_view start : {"PATRONI_", "PGPASSWORD"}) {
    if (entry.substr(0, start.size()) == start) return true;
  }
  return false;
}

std::vector<char*> merged_environment(const std::vector<std::string>& over, bool with_secrets) {
  auto merged = pointers(over);
  merged.pop_back();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string_view text(*entry);
    auto key = text.substr(0, text.find('=') + 1);
    bool replaced = (!with_secrets && is_secret(text)) || text == kServerMark;
    for (const auto& o : over) replaced = replaced || o.compare(0, key.size(), key) == 0;
    if (!replaced) merged.push_back(*entry);
  }
  merged.push_back(nullptr);
  return merged;
}

// From here on: the child, between fork and exec, where only system calls are allowed.

[[noreturn]] void give_up(const char* what, const char* name) {
  int error = errno;
  char line[512];
  int n = std::snprintf(line, sizeof line, "pgsteady-guard: cannot %s %s: %s\n", what, name,
                        std::strerror(error));
  if (n > 0 && write(STDERR_FILENO, line, static_cast<std::size_t>(n)) < 0) _exit(kExecFailed);
  _exit(kExecFailed);
}

void reset_signals() {
  for (int signal : {SIGPIPE, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU}) {
    std::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void reset_limits(const Inherited& inherited) {
  setrlimit(RLIMIT_MEMLOCK, &inherited.memory_lock);
  if (inherited.oom_score_adj.empty()) return;
  prctl(PR_SET_DUMPABLE, 1);  // else this file belongs to root; exec sets it all the same
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  const auto& text = inherited.oom_score_adj;
  if (write(fd, text.data(), text.size()) < 0) errno = 0;  // nothing can be done about it
  close(fd);
}

void set_descriptors(const Program& program) {
  int null = open("/dev/null", O_RDONLY);
  if (null > 0) dup2(null, STDIN_FILENO);
  if (!program.output_path.empty()) {
    int output = open(program.output_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (output < 0) give_up("write", program.output_path.c_str());
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
  }
  unsigned first_closed = STDERR_FILENO + 1;
  if (program.socket >= 0) {
    if (program.socket == kSocketInChild) {
      fcntl(kSocketInChild, F_SETFD, 0);
    } else {
      dup2(program.socket, kSocketInChild);
    }
    first_closed = kSocketInChild + 1;
  }
  close_from(first_closed);
}

}  // namespace

void close_from(unsigned first) {
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
  for (int fd = static_cast<int>(first); fd < 1024; ++fd) close(fd);  // kernel before 5.9
}

pid_t spawn(const Program& program, const Inherited& inherited) {
  auto argv = pointers(program.argv);
  const bool is_agent = program.socket >= 0;
  auto environment = merged_environment(program.environment, is_agent);
  pid_t guardian = getpid();
  pid_t pid = fork();
  if (pid != 0) return pid;
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != guardian) _exit(kExecFailed);  // it died before the signal was set
  reset_signals();
  reset_limits(inherited);
  set_descriptors(program);
  execve(argv[0], argv.data(), environment.data());
  give_up("run", argv[0]);
}

}  // namespace pgsteady::guard
