#include "guard/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>

#include "guard/spawn.h"

namespace pgsteady::guard {
namespace {

constexpr std::size_t kChunkBytes = 4096;  // PIPE_BUF: a pipe takes it whole

// What a file does not take, a full disk's, is lost.
void write_all(const char* data, std::size_t bytes) {
  while (bytes > 0) {
    ssize_t written = write(STDERR_FILENO, data, bytes);
    if (written > 0) {
      data += written;
      bytes -= static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      pollfd ready{STDERR_FILENO, POLLOUT, 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

[[noreturn]] void write_until_closed(int from, int to) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  prctl(PR_SET_NAME, "pgsteady-log");
  prctl(PR_SET_DUMPABLE, 0);  // the agent's passwords are in its environment, too
  setsid();
  close(to);
  dup2(from, STDIN_FILENO);
  close(STDOUT_FILENO);
  close_from(STDERR_FILENO + 1);
  char chunk[kChunkBytes];
  for (;;) {
    ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n == 0) _exit(0);
    if (n > 0) write_all(chunk, static_cast<std::size_t>(n));
  }
}

}  // namespace

LogWriter start_log_writer() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  pid_t pid = fork();
  if (pid == 0) write_until_closed(ends[0], ends[1]);
  int error = errno;
  close(ends[0]);
  if (pid > 0) return {pid, ends[1]};
  close(ends[1]);
  errno = error;
  return {};
}

}  // namespace pgsteady::guard
