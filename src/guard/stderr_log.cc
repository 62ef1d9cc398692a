#include "guard/stderr_log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "guard/log_writer.h"
#include "guard/memory.h"

namespace pgsteady::guard {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{32} * 1024;
constexpr std::size_t kLineBytes = 1024;
constexpr std::size_t kChunkBytes = 4096;  // PIPE_BUF: a writable pipe takes it whole
constexpr std::time_t kWriterAgainSeconds = 10;
constexpr int kDrainPasses = 100;  // 200 ms
constexpr long kDrainPauseNs = 2'000'000;

int log_fd = -1;
bool is_socket = false;
bool may_block = false;  // stderr itself: a writer's pipe stands in its place
LogWriter writer;
std::time_t writer_started = 0;
char buffer[kBufferBytes];
std::size_t used = 0;
unsigned dropped = 0;

void append(const char* text, std::size_t bytes) {
  if (used + bytes > sizeof buffer) {
    ++dropped;
    return;
  }
  std::memcpy(buffer + used, text, bytes);
  used += bytes;
}

ssize_t write_some(const char* data, std::size_t bytes) {
  if (is_socket) return send(log_fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  pollfd ready{log_fd, POLLOUT, 0};
  if (poll(&ready, 1, 0) <= 0 || (ready.revents & POLLOUT) == 0) {
    errno = EAGAIN;
    return -1;
  }
  return write(log_fd, data, bytes);
}

std::time_t seconds_up() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec;
}

void start_writer() {
  writer_started = seconds_up();
  writer = start_log_writer();
  lock_memory_again();
  log_fd = writer.pipe;
}

// Other processes write into the same pipe: "writable" may be gone by the time of the write. The
// second description has a flag of its own, so that nobody else's writes stop blocking.
int open_again(mode_t mode) {
  if (!S_ISFIFO(mode) && !S_ISCHR(mode)) return -1;
  return open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

// Whole lines that fit a chunk; a line is never longer than one.
std::size_t chunk_bytes() {
  std::size_t end = std::min(used, kChunkBytes);
  while (end > 0 && buffer[end - 1] != '\n') --end;
  return end;
}

}  // namespace

void open_log() {
  struct stat info {};
  if (fstat(STDERR_FILENO, &info) != 0) return;
  is_socket = S_ISSOCK(info.st_mode);
  log_fd = is_socket ? STDERR_FILENO : open_again(info.st_mode);
  may_block = log_fd < 0;
  if (may_block) start_writer();
  std::time_t now = std::time(nullptr);
  std::tm local{};
  tzset();
  localtime_r(&now, &local);  // reads the time zone's file now, not when the disk hangs
}

void log(const char* level, const char* format, ...) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm local{};
  localtime_r(&now.tv_sec, &local);
  char line[kLineBytes];
  std::size_t at = std::strftime(line, sizeof line, "%Y-%m-%d %H:%M:%S", &local);
  at += static_cast<std::size_t>(
      std::snprintf(line + at, sizeof line - at, ",%03ld %s: ", now.tv_nsec / 1000000, level));
  va_list arguments;
  va_start(arguments, format);
  // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): va_start stands above
  int text = std::vsnprintf(line + at, sizeof line - at, format, arguments);
  va_end(arguments);
  at = std::min(at + static_cast<std::size_t>(std::max(text, 0)), sizeof line - 2);
  line[at++] = '\n';
  append(line, at);
}

void flush_log() {
  bool lost = may_block && writer.pid == 0;
  if (lost && seconds_up() - writer_started >= kWriterAgainSeconds) start_writer();
  while (used > 0 && log_fd >= 0) {
    ssize_t written = write_some(buffer, chunk_bytes());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // kept for the next time
    used -= static_cast<std::size_t>(written);
    std::memmove(buffer, buffer + written, used);
    if (used == 0 && dropped > 0) {
      unsigned lines = dropped;
      dropped = 0;
      log("WARNING", "%u lines of this log were dropped: stderr took nothing more", lines);
    }
  }
}

void close_log() {
  flush_log();
  if (writer.pid == 0) return;
  close(log_fd);
  log_fd = -1;
  for (int pass = 0; pass < kDrainPasses && waitpid(writer.pid, nullptr, WNOHANG) == 0; ++pass) {
    timespec pause{0, kDrainPauseNs};
    nanosleep(&pause, nullptr);
  }
}

pid_t log_writer() {
  return writer.pid;
}

void log_writer_ended() {
  close(log_fd);
  log_fd = -1;
  writer = {};
}

}  // namespace pgsteady::guard
