// The agent's side of the conversation with its guardian.
//
// Threads: the sending functions may be called from any thread at any time; they never block (a
// packet that does not fit is an error, ErrorKind::retry). receive() belongs to the loop's thread.
// Order is kept. When the guardian is gone every call fails with ErrorKind::fatal: the kernel has
// then killed the server (PR_SET_PDEATHSIG), and the agent has to end.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "guard/protocol.h"
#include "lease/terms.h"

namespace pgsteady::guard {

struct Command {
  std::vector<std::string> argv;         // argv[0] an absolute path
  std::vector<std::string> environment;  // "KEY=value", over the guardian's own
};

struct Message {
  Kind kind{};
  ServerPhase phase{};
  int pid = 0;
  int code = 0;  // wait status as of waitpid(2) for *_exited; the refused Kind for refused
  bool watchdog_failed = false;
  bool fenced = false;
  bool as_primary = false;  // status: the server was started as a primary
  bool suspended = false;
  std::int64_t job = 0;
  lease::Epoch epoch;       // armed one; invalid when unarmed
  lease::Instant deadline;  // of the armed epoch; of the stop's limit for `stop`
  lease::Duration ttl{};    // that the epoch was armed with
  std::string text;
};

class Client {
 public:
  // Takes the descriptor named by PGSTEADY_GUARD_FD; says hello.
  static Result<std::unique_ptr<Client>> from_environment();
  explicit Client(int fd);  // takes ownership
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  int fd() const { return fd_; }  // readable: call receive() until it gives nothing
  Result<std::optional<Message>> receive();

  Result<void> alive();
  Result<void> arm(const lease::Epoch& epoch, lease::Instant deadline, lease::Duration ttl);
  Result<void> disarm(const lease::Epoch& epoch);
  Result<void> start_server(const Command& command, bool as_primary);
  Result<void> stop_server(StopMode mode, std::chrono::nanoseconds limit);
  Result<void> fence();
  Result<void> signal_server(int signal);
  // Standard output and error go to `output_path` (created 0600, truncated).
  Result<void> run_job(std::int64_t job, const Command& command, const std::string& output_path,
                       std::chrono::nanoseconds limit);
  Result<void> kill_job(std::int64_t job);
  Result<void> finished(int exit_code);
  Result<void> suspend();
  Result<void> resume();

 private:
  Result<void> send(Header header, const std::string& texts = {});

  int fd_;
};

}  // namespace pgsteady::guard
