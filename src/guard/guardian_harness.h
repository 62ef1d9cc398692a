// For the guardian's process tests: a real pgsteady-guard under a fake agent, which the test plays
// itself over the agent's connection. As root the guardian runs as `postgres`. What a test starts
// dies with it.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "guard/client.h"

namespace pgsteady::guard {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr lease::Epoch kEpoch{77, 10};

constexpr seconds kPatience{20};  // for anything that must happen; never a measure of speed

bool eventually(const std::function<bool()>& condition, milliseconds limit = kPatience);

// A process as it was when it was looked at; a later one with the same number is another.
struct Process {
  pid_t pid = 0;
  std::string started;  // its start time, as /proc tells it
  std::string command;
  std::string name;  // "pgsteady-log" for the log's writer, whose command is the guardian's
};
std::vector<Process> descendants(pid_t of);
bool exists(const Process& process);  // a zombie does not
bool none_exists(const std::vector<Process>& processes);

lease::Instant now();

// A directory for one test, writable by the user that the guardian runs as; removed at the end.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  std::string path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The words before a command that make it run as `postgres` when this is root; none otherwise.
std::vector<std::string> as_server_user();

struct GuardianSetup {
  std::vector<std::string> options{};
  std::optional<rlim_t> memory_lock_limit{};
  int standard_error = -1;  // -1: a file, read by log()
};

class RunningGuardian {
 public:
  explicit RunningGuardian(const GuardianSetup& setup = {});
  ~RunningGuardian();

  const TestDirectory& directory() const { return directory_; }
  pid_t pid() const { return pid_; }
  std::string log() const;
  Process log_writer() const;

  // Waits for the next agent to be started and says hello for it; from then on signs of life are
  // sent for it in the background. Gives the status that answered the hello.
  Message next_agent();
  Client& agent() { return *client_; }
  std::shared_ptr<Client> agent_connection() { return client_; }
  pid_t agent_pid() const { return agent_pid_; }
  void agent_falls_silent();
  void agent_exits(unsigned char code);

  // The next message of this kind; others are passed over.
  Message expect(Kind kind);
  // Arms with a deadline so far ahead (ttl a bit more) and waits for the answer.
  Message arm(lease::Epoch epoch, milliseconds ahead);

  void signal(int signal);
  std::optional<int> exit_status(milliseconds limit = kPatience);  // waitpid's

 private:
  void start(const GuardianSetup& setup);
  void beat();

  TestDirectory directory_;
  int listener_ = -1;
  int control_ = -1;
  pid_t pid_ = 0;
  std::optional<int> status_;
  std::shared_ptr<Client> client_;
  pid_t agent_pid_ = 0;
  std::mutex mutex_;
  std::shared_ptr<Client> beating_;
  std::atomic<bool> ending_ = false;
  std::thread heart_;
};

}  // namespace pgsteady::guard
