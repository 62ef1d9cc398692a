#include "base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/clock.h"

extern char** environ;

namespace pgsteady {
namespace {

constexpr std::size_t kOutputLimitBytes = 1 << 20;

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged_environment(const std::vector<std::string>& over) {
  std::vector<std::string> merged = over;
  for (char** entry = environ; *entry; ++entry) {
    std::string_view text(*entry);
    auto key = text.substr(0, text.find('=') + 1);
    bool replaced = false;
    for (const auto& o : over) replaced = replaced || o.compare(0, key.size(), key) == 0;
    if (!replaced) merged.emplace_back(text);
  }
  return merged;
}

// Reads until end of file or the deadline; false at the deadline.
bool drain(int fd, std::string& out, std::chrono::nanoseconds deadline) {
  char buffer[4096];
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - boottime_now());
    if (left.count() <= 0) return false;
    pollfd p{fd, POLLIN, 0};
    int ready = poll(&p, 1, static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n == 0) return true;
    if (n < 0 && errno != EINTR) return true;
    if (n > 0 && out.size() < kOutputLimitBytes) out.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace

Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  const std::vector<std::string>& environment,
                                  std::chrono::milliseconds limit) {
  const auto deadline = boottime_now() + limit;
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
    return fail(ErrorKind::retry, fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, pipe_fds[1], 1);
  posix_spawn_file_actions_adddup2(&files, pipe_fds[1], 2);
  auto arguments = argv;
  auto env = merged_environment(environment);
  pid_t pid = 0;
  int error = posix_spawnp(&pid, argv.front().c_str(), &files, nullptr, pointers(arguments).data(),
                           pointers(env).data());
  posix_spawn_file_actions_destroy(&files);
  close(pipe_fds[1]);
  if (error != 0) {
    close(pipe_fds[0]);
    return fail(ErrorKind::not_found,
                fmt::format("cannot run {}: {}", argv.front(), std::strerror(error)));
  }
  ProcessOutput result;
  bool in_time = drain(pipe_fds[0], result.output, deadline);
  close(pipe_fds[0]);
  if (!in_time) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) {
    return fail(ErrorKind::retry,
                fmt::format("{} did not end within {} ms", argv.front(), limit.count()));
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

void keep_memory_private() {
  prctl(PR_SET_DUMPABLE, 0);
}

std::vector<std::string> process_environment() {
  std::vector<std::string> environment;
  for (char** entry = environ; entry && *entry; ++entry) environment.emplace_back(*entry);
  return environment;
}

}  // namespace pgsteady
