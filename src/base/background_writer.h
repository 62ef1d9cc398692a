// Text for a descriptor that may block for long, stderr first of all, written by a thread of its
// own: whoever has something to say never waits. What finds no room is dropped and counted.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace pgsteady {

class BackgroundWriter {
 public:
  // `dropped` is called by the thread when there is room again, with the number of lines; it may
  // call put(). The thread never ends, as a write may never return: neither may this object.
  BackgroundWriter(int fd, std::function<void(unsigned)> dropped);
  ~BackgroundWriter() = delete;
  BackgroundWriter(const BackgroundWriter&) = delete;
  BackgroundWriter& operator=(const BackgroundWriter&) = delete;

  // A line with its end. Any thread.
  void put(std::string_view line);
  // Waits until all is written, but no longer than this.
  void flush(std::chrono::milliseconds limit);

 private:
  void run();
  void write_out(std::string_view text);

  const int fd_;
  const std::function<void(unsigned)> dropped_;
  std::mutex mutex_;
  std::condition_variable wanted_, idle_;
  std::string waiting_;  // under the mutex, as the two below
  unsigned lost_ = 0;
  bool writing_ = false;
};

}  // namespace pgsteady
