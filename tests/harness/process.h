// Server processes of a test, and a look at the process tree they make.
//
// Everything here belongs to the test's main thread: a process asks the kernel to be killed when
// the thread that started it ends, so that nothing outlives a test that is killed itself.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pgsteady::testing {

using Millis = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Asks `done` at once and then every `pause` until it says yes or the limit has passed; what it
// said last. Reaps adopted orphans meanwhile; the test's main thread only.
bool eventually(Millis limit, const std::function<bool()>& done, Millis pause = Millis(50));

// The user that servers run as: `postgres` for root (PostgreSQL refuses root), else oneself.
struct ServerUser {
  uid_t uid;
  gid_t gid;
  bool drop;  // whether it differs from the one the test runs as
};
const ServerUser& server_user();

// A directory with a random name that the server user owns; removed with the object. `memory`:
// where the machine has plenty of it, as most of what servers that come and go wait for is the
// disk.
class TempDir {
 public:
  enum class Where { disk, memory };
  explicit TempDir(Where where = Where::disk);
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Writes a file that only the server user can read.
void write_private(const std::filesystem::path& path, const std::string& text);

// The last lines of a file, for a failing test's output.
std::string tail(const std::filesystem::path& path, int lines);

// Free loopback ports below the kernel's ephemeral range, each given out once.
int free_port();

// A child of the test. Ends by SIGKILL with the object when it still runs.
class Process {
 public:
  // argv[0] is looked up in PATH; runs as the server user; stdout and stderr are appended to `log`.
  // `space` is the network namespace that it shall run in (Network::space), -1: the caller's.
  // Throws std::runtime_error when it cannot be started.
  Process(const std::vector<std::string>& argv, const std::filesystem::path& log,
          const std::vector<std::string>& environment = {}, int space = -1);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  void signal(int number);
  // The wait status, or nullopt when it still runs at the limit.
  std::optional<int> wait(Millis limit);
  void kill();  // SIGKILL, reaped

 private:
  pid_t pid_;
  std::optional<int> status_;
};

// --- the process tree, from /proc; empty or 0 for a process that is gone ----------------------

std::vector<pid_t> children_of(pid_t pid);
std::vector<pid_t> descendants_of(pid_t pid);  // breadth first, without itself
std::vector<std::string> arguments_of(pid_t pid);
char state_of(pid_t pid);  // 'R', 'S', 'T', 'Z', ... or 0
bool alive(pid_t pid);     // exists and is no zombie
void kill_pids(const std::vector<pid_t>& pids, int signal);

// Makes the test the one that orphans are handed to, and kills those that are there. Call the
// second one when all Process objects are gone.
void adopt_orphans();
void kill_orphans();

}  // namespace pgsteady::testing
