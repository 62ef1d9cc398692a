// The log of a process whose stderr nobody reads.
#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "base/background_writer.h"
#include "base/clock.h"

namespace pgsteady {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kLines = 5000;  // of 70 bytes: more than the pipe and the queue take

struct Pipe {
  int out = -1, in = -1;
  explicit Pipe(int flags = 0) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | flags) == 0) out = ends[0], in = ends[1];
  }
  ~Pipe() {
    close(out);
    close_in();
  }
  void close_in() {
    if (in >= 0) close(in);
    in = -1;
  }
  // What is there within the time; until `words` when they come.
  std::string read(const std::string& words, seconds limit) const {
    std::string text;
    char chunk[4096];
    auto end = boottime_now() + limit;
    while (text.find(words) == text.npos && boottime_now() < end) {
      pollfd ready{out, POLLIN, 0};
      if (poll(&ready, 1, 100) <= 0) continue;
      auto n = ::read(out, chunk, sizeof chunk);
      if (n <= 0) break;
      text.append(chunk, static_cast<std::size_t>(n));
    }
    return text;
  }
};

// A process that logs from several threads at once, tells that it came so far, and ends when it is
// told to.
pid_t start_logging(const Pipe& error, const Pipe& told, const Pipe& go) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  dup2(error.in, STDERR_FILENO);
  {
    BackgroundLog never_waits;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([thread] {
        for (int i = 0; i < kLines / 4; ++i) log_info("thread {} says line {:08}", thread, i);
      });
    }
    for (auto& thread : threads) thread.join();
    char byte = 0;
    if (write(told.in, "x", 1) != 1 || ::read(go.out, &byte, 1) != 1) _exit(1);
    log_info("the last line");
  }
  _exit(0);
}

int exit_status(pid_t pid, seconds limit) {
  int status = -1;
  for (auto end = boottime_now() + limit; boottime_now() < end;) {
    if (waitpid(pid, &status, WNOHANG) == pid) return status;
    std::this_thread::sleep_for(milliseconds(10));
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return -1;
}

TEST(BackgroundLog, HoldsNobodyUpWhileNobodyReadsStderr) {
  Pipe error, told, go;
  pid_t pid = start_logging(error, told, go);
  EXPECT_EQ(told.read("x", seconds(20)), "x");
  EXPECT_EQ(write(go.in, "x", 1), 1);
  EXPECT_EQ(exit_status(pid, seconds(20)), 0) << "its end waits for the reader";
}

TEST(BackgroundLog, TellsHowMuchWasDroppedOnceItIsReadAgain) {
  Pipe error, told, go;
  pid_t pid = start_logging(error, told, go);
  EXPECT_EQ(told.read("x", seconds(20)), "x");
  auto text = error.read("lines of this log were dropped: stderr took nothing more\n", seconds(20));
  EXPECT_NE(text.find("INFO: thread 0 says line 00000000\n"), std::string::npos);
  EXPECT_NE(text.find(" WARNING: "), std::string::npos) << text.substr(text.size() - 200);
  EXPECT_EQ(write(go.in, "x", 1), 1);
  EXPECT_EQ(exit_status(pid, seconds(20)), 0);
  EXPECT_NE(error.read("the last line\n", seconds(20)).find("the last line\n"), std::string::npos);
}

// So that lines of other processes do not end up in the midst of one.
TEST(BackgroundWriter, WritesWholeLinesAtATime) {
  Pipe pipe(O_DIRECT);  // each read gives one write
  auto& writer = *new BackgroundWriter(pipe.in, [](unsigned) {});
  const std::string line = std::string(99, 'a') + "\n";
  for (int i = 0; i < 300; ++i) writer.put(line);
  char chunk[4096];
  for (std::size_t bytes = 0; bytes < 300 * line.size();) {
    auto n = ::read(pipe.out, chunk, sizeof chunk);
    ASSERT_GT(n, 0);
    EXPECT_EQ(chunk[n - 1], '\n');
    bytes += static_cast<std::size_t>(n);
  }
  writer.flush(seconds(20));
}

}  // namespace
}  // namespace pgsteady
