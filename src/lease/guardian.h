// The guardian's rules: who may arm a deadline, when the server dies, when it may start again, when
// the agent is restarted. A state machine without a clock, a process or a socket; src/guard carries
// its actions out, the simulator does the same with its own world.
//
// How to drive it: report what happened (with the time), carry out the actions given back in their
// order, and call tick() after each batch of events and at next_wake(). Kills come first in every
// list. An action that starts something is answered with *_started or *_start_failed before
// anything else is reported; kill_server is answered with swept().
//
// A deadline that has passed is acted on by whichever call comes first: no message is looked at
// before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lease/terms.h"

namespace pgsteady::lease {

enum class ServerPhase {
  none,      // no server, everything reaped: may be started
  running,   // postmaster alive
  stopping,  // asked to stop
  killing,   // killed, or dead by itself; something of it is not reaped yet
};

// What becomes of the watchdog device, which resets the host once it is open and fed no more.
enum class WatchdogCare {
  close,  // no server is armed, or its deadline is suspended: nothing may reset the host
  feed,   // as far as the armed deadline goes
  leave,  // a server is being killed: if the rest cannot be, the host goes
};

enum class StopMode { smart, fast, immediate };

// What an agent asks for. Only the fields that the kind needs are looked at.
struct Request {
  enum class Kind {
    hello,
    alive,
    arm,            // epoch, deadline, ttl
    disarm,         // epoch: it is over. Answered by `status`, unless its server still lives
    start_server,   // as_primary
    stop_server,    // mode, limit
    fence,          // the armed epoch is over, and the server with it. Answered by `status`
    signal_server,  // signal
    run_job,        // job, limit
    kill_job,       // job
    finished,       // code
    suspend,        // deadlines are kept, and not acted on, until `resume`. Answered by `status`
    resume,         // they are again: one that has passed, at once. Answered by `status`
  };
  Kind kind = Kind::alive;
  Epoch epoch{};
  Instant deadline{};
  Duration ttl{};
  bool as_primary = false;
  StopMode mode = StopMode::fast;
  Duration limit{};
  int signal = 0;
  std::int64_t job = 0;
  int code = 0;
};

// What the agent is told. How things stand goes with each.
struct Notice {
  enum class Kind {
    status,
    armed,
    refused,
    server_started,
    server_exited,
    job_exited,
    stop,
    reload
  };
  Kind kind = Kind::status;
  Request::Kind refused{};
  int code = 0;         // wait status
  bool fenced = false;  // server_exited: the guardian killed it
  std::int64_t job = 0;
  Instant limit;     // stop: finish before
  std::string text;  // refused: why

  ServerPhase phase = ServerPhase::none;
  int pid = 0;
  bool as_primary = false;
  bool watchdog_failed = false;  // one is required and does not work: nothing is armed
  Epoch epoch;                   // the armed one; invalid when unarmed
  Instant deadline;
  Duration ttl{};  // that the epoch was armed with
  bool suspended = false;
};

struct Action {
  enum class Kind {
    kill_server,  // SIGKILL to the postmaster and all that is left of the server; then swept()
    ask_to_stop,  // mode: SIGTERM, SIGINT or SIGQUIT to the postmaster
    pass_signal,  // signal to the postmaster
    start_server,
    kill_agent,  // SIGKILL to it and its process group, and hang up: it is not heard any more
    start_agent,
    kill_job,  // job: SIGKILL to its process group
    start_job,
    send,  // notice, to the agent of this generation
    exit,  // code
  };
  Kind kind{};
  StopMode mode{};
  int signal = 0;
  std::int64_t job = 0;
  int code = 0;
  Notice notice{};
  std::string why{};  // for the log; empty: nothing to say
};

using Actions = std::vector<Action>;

struct GuardianOptions {
  Duration stop_limit = std::chrono::milliseconds(8500);  // for the agent's hand-over at SIGTERM
};

// How long an agent may say nothing: before its hello, unarmed, and armed with this ttl.
constexpr Duration kHelloLimit = std::chrono::seconds(10);
constexpr Duration silence_limit(bool armed, Duration ttl) {
  if (!armed) return std::chrono::seconds(10);
  return std::max<Duration>(std::chrono::milliseconds(1500), ttl * 2 / 5);
}

class Guardian {
 public:
  explicit Guardian(GuardianOptions options) : options_(options) {}

  // --- what the system reports -------------------------------------------------------------------
  Actions begin(Instant now);  // once, first
  Actions tick(Instant now);   // after each batch of events, and at next_wake()
  Instant next_wake() const;

  void agent_started(Instant now);  // its messages carry generation() from now on
  void agent_start_failed(Instant now);
  Actions agent_exited(int status, Instant now);  // after its last messages have been handed in
  Actions agent_deaf(Instant now);                // it does not read what it is sent

  Actions server_started(int pid, Instant now);
  Actions server_start_failed(std::string why, Instant now);
  Actions server_exited(int status, Instant now);  // the postmaster has been reaped
  // Answer to kill_server: so many processes are left that are neither agent nor running job.
  Actions swept(std::size_t left, Instant now);

  void job_started(std::int64_t job, Instant now);
  Actions job_start_failed(std::int64_t job, std::string why, Instant now);
  Actions job_exited(std::int64_t job, int status, Instant now);

  Actions stop_requested(Instant now);    // SIGTERM, SIGINT
  Actions reload_requested(Instant now);  // SIGHUP

  // Whether a server may be armed as far as the watchdog device is concerned.
  Actions watchdog_works(bool works, Instant now);

  // --- what an agent asks for --------------------------------------------------------------------
  Actions asked(std::uint64_t generation, const Request& request, Instant now);

  // --- what stands -------------------------------------------------------------------------------
  std::uint64_t generation() const { return generation_; }
  ServerPhase phase() const { return phase_; }
  int server_pid() const { return server_pid_; }
  bool as_primary() const { return as_primary_; }
  const std::optional<Epoch>& armed() const { return armed_; }
  Instant deadline() const { return deadline_; }  // of the armed epoch
  Duration ttl() const { return ttl_; }           // that it was armed with
  WatchdogCare watchdog_care() const;
  bool suspended() const { return suspended_; }  // survives the agent that asked for it

 private:
  enum class Agent { none, starting, talking, killed };
  enum class Ending {
    no,
    asked,      // the agent was told to hand over and finish
    finishing,  // the agent has finished: nothing may be left, nothing is restarted
    forced,     // it did not in time
  };
  struct Job {
    Instant limit;
    std::uint64_t generation = 0;
    bool killed = false;
  };

  void check_deadline(Instant now, Actions& out);
  void check_stop(Instant now, Actions& out);
  void check_jobs(Instant now, Actions& out);
  void check_agent(Instant now, Actions& out);
  void check_ending(Instant now, Actions& out);
  void sweep(Instant now, Actions& out);
  void reaped(Actions& out);

  void handle(const Request& request, Instant now, Actions& out);
  void hello(Actions& out);
  void arm(const Request& request, Instant now, Actions& out);
  std::string why_not_arm(const Request& request, Instant now) const;
  bool is_over(const Epoch& epoch) const;
  void close(const Epoch& epoch);
  void close_armed();
  void disarm(const Request& request, Actions& out);
  void start_server(const Request& request, Instant now, Actions& out);
  void stop_server(const Request& request, Instant now, Actions& out);
  void fence(Instant now, Actions& out);
  void signal_server(const Request& request, Actions& out);
  void run_job(const Request& request, Instant now, Actions& out);
  void kill_job(const Request& request, Actions& out);
  void suspend(Actions& out);
  void resume(Instant now, Actions& out);
  void finish(int code, Instant now, Actions& out);

  void kill_server(Instant now, std::string why, Actions& out);
  void ask_to_stop(StopMode mode, Instant limit, Actions& out);
  void kill_agent(std::string why, Actions& out);
  void wind_up(Ending ending, int code, Instant now, Actions& out);
  bool all_gone() const;
  bool job_of_former_agent() const;
  void send(Notice::Kind kind, Actions& out);
  void send(Notice notice, Actions& out);
  void tell(Notice notice, Actions& out);
  void refuse(Request::Kind kind, std::string why, Actions& out);

  GuardianOptions options_;

  ServerPhase phase_ = ServerPhase::none;
  int server_pid_ = 0;
  int server_status_ = 0;
  bool postmaster_alive_ = false;
  bool as_primary_ = false;
  bool fenced_ = false;  // the guardian killed it
  bool watchdog_failed_ = false;
  bool expired_ = false;  // a deadline passed over this server; until it is reaped nothing is armed
  Instant stop_deadline_;
  Instant killing_since_;
  Instant next_sweep_;

  bool suspended_ = false;
  std::optional<Epoch> armed_;
  Instant deadline_;
  Duration ttl_{};
  // The epochs that are over (passed, disarmed, fenced, replaced), newest last, one per lease. An
  // etcd that was restored counts its revisions from the start again, so only those of one lease
  // compare. The few that count are those whose renewals may still be on their way.
  std::vector<Epoch> closed_;

  Agent agent_ = Agent::none;
  std::uint64_t generation_ = 0;
  Instant agent_started_at_;
  Instant last_sign_;
  Instant agent_start_at_;  // when to start the next one
  int quick_deaths_ = 0;

  std::map<std::int64_t, Job> jobs_;

  Ending ending_ = Ending::no;
  int exit_code_ = 0;
  Instant stop_by_;        // asked: for the agent to have finished
  Instant agent_exit_by_;  // finishing: for it to be gone
  Instant exit_by_;        // finishing, forced: the end, whatever is left
};

}  // namespace pgsteady::lease
