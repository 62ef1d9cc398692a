// Carries out what lease::Guardian decides: processes, signals, the agent's socket, the timer. One
// thread, one object, which run() keeps until the process ends.
#pragma once

#include <sys/types.h>
#include <map>
#include <string>
#include <vector>

#include "guard/spawn.h"
#include "guard/watchdog.h"
#include "guard/wire.h"
#include "lease/guardian.h"

namespace pgsteady::guard {

struct KeeperOptions {
  std::vector<std::string> agent_argv;
  lease::GuardianOptions rules;
  Inherited inherited;
  WatchdogOptions watchdog;
};

class Keeper {
 public:
  explicit Keeper(KeeperOptions options);
  // Until the guardian is to exit; gives the exit code. The signals it reads must be blocked.
  int run();

 private:
  bool open_descriptors();
  void set_timer();
  void wait_for_events();
  void read_signals();
  void read_agent(int limit);
  bool read_packet();
  void look_at_watchdog();
  void tend_watchdog();
  void reap();
  void reaped(pid_t pid, int status);

  void carry_out(const lease::Actions& actions);
  void carry_out(const lease::Action& action);
  void kill_server(const lease::Action& action);
  void ask_to_stop(lease::StopMode mode);
  void start_server();
  void appoint_heir();
  void dismiss_heir();
  void start_agent();
  void kill_agent(const lease::Action& action);
  void start_job(std::int64_t job);
  void kill_job(const lease::Action& action);
  void send(const lease::Notice& notice);
  void hang_up();
  std::vector<pid_t> spared() const;

  KeeperOptions options_;
  lease::Guardian guardian_;
  Watchdog watchdog_;
  Packet packet_;  // the one being worked on: what a start_* action starts
  pid_t agent_pid_ = 0;
  pid_t server_pid_ = 0;  // until the postmaster is reaped
  pid_t heir_pid_ = 0;    // see heir.h
  std::map<pid_t, std::int64_t> jobs_;
  int agent_fd_ = -1;
  int signal_fd_ = -1;
  int timer_fd_ = -1;
  bool over_ = false;
  int exit_code_ = 0;
  std::vector<char> buffer_;
  std::string last_refusal_;
  std::int64_t logged_epoch_ = 0;
};

// CLOCK_BOOTTIME, which goes on while the machine sleeps.
lease::Instant now();

// SIGCHLD, SIGTERM, SIGINT, SIGHUP: blocked and read; those of a terminal's job control: ignored,
// as a stopped guardian fences nothing.
void take_over_signals();

}  // namespace pgsteady::guard
