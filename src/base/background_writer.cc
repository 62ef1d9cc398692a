#include "base/background_writer.h"

#include <poll.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>

namespace pgsteady {
namespace {

constexpr std::size_t kLimitBytes = std::size_t{64} * 1024;
constexpr std::size_t kChunkBytes = 4096;  // PIPE_BUF: others write to the same pipe

// Whole lines; a line that is longer than a chunk goes by itself.
std::size_t chunk_of(std::string_view text) {
  if (text.size() <= kChunkBytes) return text.size();
  auto end = text.rfind('\n', kChunkBytes - 1);
  if (end == text.npos) end = text.find('\n');
  return end == text.npos ? text.size() : end + 1;
}

}  // namespace

BackgroundWriter::BackgroundWriter(int fd, std::function<void(unsigned)> dropped)
    : fd_(fd), dropped_(std::move(dropped)) {
  sigset_t all, before;  // signals are for the other threads
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([this] { run(); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void BackgroundWriter::put(std::string_view line) {
  {
    std::lock_guard lock(mutex_);
    if (waiting_.size() + line.size() > kLimitBytes) {
      ++lost_;
      return;
    }
    waiting_.append(line);
  }
  wanted_.notify_one();
}

void BackgroundWriter::flush(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  idle_.wait_for(lock, limit, [this] { return waiting_.empty() && lost_ == 0 && !writing_; });
}

void BackgroundWriter::run() {
  std::string text;
  for (;;) {
    std::unique_lock lock(mutex_);
    writing_ = false;
    if (waiting_.empty() && lost_ == 0) idle_.notify_all();
    wanted_.wait(lock, [this] { return !waiting_.empty() || lost_ > 0; });
    writing_ = true;
    text.clear();
    text.swap(waiting_);
    auto lost = std::exchange(lost_, 0U);
    lock.unlock();
    write_out(text);
    if (lost > 0) dropped_(lost);
  }
}

// What is refused, by a full disk say, is lost.
void BackgroundWriter::write_out(std::string_view text) {
  while (!text.empty()) {
    ssize_t written = ::write(fd_, text.data(), chunk_of(text));
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd ready{fd_, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

}  // namespace pgsteady
