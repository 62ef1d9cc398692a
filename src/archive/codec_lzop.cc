// WAL-E's objects, through the program lzop: `lzop -dc`, fed and drained by turns so that neither
// side waits for the other for ever.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "archive/codec_streams.h"

extern char** environ;

namespace pgsteady::archive {
namespace {

constexpr int kStepLimitMs = 60000;  // lzop only computes; it is never that slow

void close_fd(int& fd) {
  if (fd >= 0) ::close(std::exchange(fd, -1));
}

class LzopReader : public Stream {
 public:
  ~LzopReader() override {
    close_fd(in_);
    close_fd(out_);
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }

  Result<void> start() {
    int to[2], from[2];
    if (::pipe2(to, O_CLOEXEC) != 0) return fail(ErrorKind::retry, "cannot make a pipe");
    if (::pipe2(from, O_CLOEXEC) != 0) {
      close_fd(to[0]);
      close_fd(to[1]);
      return fail(ErrorKind::retry, "cannot make a pipe");
    }
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, to[0], 0);
    posix_spawn_file_actions_adddup2(&files, from[1], 1);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    char program[] = "lzop", options[] = "-dc";
    char* argv[] = {program, options, nullptr};
    const int error = ::posix_spawnp(&pid_, program, &files, nullptr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    close_fd(to[0]);
    close_fd(from[1]);
    in_ = to[1];
    out_ = from[0];
    ::fcntl(in_, F_SETFL, O_NONBLOCK);
    if (error == 0) return {};
    pid_ = 0;
    return fail(ErrorKind::refused, fmt::format("cannot run lzop: {}", std::strerror(error)),
                "install lzop: the archive has objects of WAL-E");
  }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    while (!bytes.empty()) {
      auto ready = wait();
      if (!ready) return tl::unexpected(ready.error());
      if (ready->second) {
        if (auto drained = drain(sink); !drained) return tl::unexpected(drained.error());
        continue;
      }
      const ssize_t n = write_ignoring_signal(bytes);
      if (n < 0 && errno == EPIPE) return corrupt_stream("lzop", "broken data");
      if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  Result<void> finish(const Sink& sink) override {
    close_fd(in_);
    for (;;) {
      auto ready = wait();
      if (!ready) return tl::unexpected(ready.error());
      auto more = drain(sink);
      if (!more) return tl::unexpected(more.error());
      if (!*more) break;
    }
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      return corrupt_stream("lzop", "broken data or cut short");
    }
    return {};
  }

 private:
  // {can write, can read}
  Result<std::pair<bool, bool>> wait() {
    pollfd fds[] = {{out_, POLLIN, 0}, {in_, POLLOUT, 0}};
    const int ready = ::poll(fds, in_ >= 0 ? 2 : 1, kStepLimitMs);
    if (ready == 0) return fail(ErrorKind::retry, "lzop does not go on");
    const bool readable = fds[0].revents & POLLIN;
    const bool writable = in_ >= 0 && (fds[1].revents & (POLLOUT | POLLERR));
    return std::pair(writable, readable);
  }

  // False at the end.
  Result<bool> drain(const Sink& sink) {
    const ssize_t n = ::read(out_, buffer_.data(), buffer_.size());
    if (n < 0 && errno == EINTR) return true;
    if (n < 0) return fail(ErrorKind::retry, "cannot read from lzop");
    if (n == 0) return false;
    if (auto taken = sink({buffer_.data(), static_cast<std::size_t>(n)}); !taken) {
      return tl::unexpected(taken.error());
    }
    return true;
  }

  // A broken pipe must not end the program.
  ssize_t write_ignoring_signal(std::string_view bytes) const {
    sigset_t pipe_signal, old;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
    const ssize_t n = ::write(in_, bytes.data(), bytes.size());
    const int error = errno;
    if (n < 0 && error == EPIPE) {
      const timespec now{};
      ::sigtimedwait(&pipe_signal, nullptr, &now);
    }
    ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
    errno = error;
    return n;
  }

  pid_t pid_ = 0;
  int in_ = -1, out_ = -1;
  std::string buffer_ = std::string(kPieceBytes, '\0');
};

}  // namespace

StreamResult make_lzop_decompressor() {
  auto reader = std::make_unique<LzopReader>();
  if (auto started = reader->start(); !started) return tl::unexpected(started.error());
  return reader;
}

}  // namespace pgsteady::archive
