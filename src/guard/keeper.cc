#include "guard/keeper.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>

#include "guard/children.h"
#include "guard/heir.h"
#include "guard/memory.h"
#include "guard/stderr_log.h"

namespace pgsteady::guard {
namespace {

constexpr int kPacketsPerRound = 64;
constexpr int kPacketsAtTheEnd = 1024;  // more than a socket's buffer holds

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status));
  return "exit code " + std::to_string(WEXITSTATUS(status));
}

sigset_t signals_read() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

int signal_of(lease::StopMode mode) {
  switch (mode) {
    case lease::StopMode::smart:
      return SIGTERM;
    case lease::StopMode::fast:
      return SIGINT;
    case lease::StopMode::immediate:
      return SIGQUIT;
  }
  return SIGINT;
}

const char* name_of(lease::StopMode mode) {
  switch (mode) {
    case lease::StopMode::smart:
      return "smart";
    case lease::StopMode::fast:
      return "fast";
    case lease::StopMode::immediate:
      return "immediate";
  }
  return "fast";
}

// Its own process group as well: each child leads one.
void kill_group(pid_t pid) {
  kill(-pid, SIGKILL);
  kill(pid, SIGKILL);
}

}  // namespace

lease::Instant now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return lease::Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

void take_over_signals() {
  auto set = signals_read();
  sigprocmask(SIG_SETMASK, &set, nullptr);
  for (int signal : {SIGPIPE, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU}) {
    std::signal(signal, SIG_IGN);
  }
  std::signal(SIGCHLD, SIG_DFL);  // inherited as ignored, it would reap without a word
}

Keeper::Keeper(KeeperOptions options)
    : options_(std::move(options)),
      guardian_(options_.rules),
      watchdog_(options_.watchdog),
      buffer_(kPacketLimitBytes) {}

int Keeper::run() {
  if (!open_descriptors()) return 1;
  carry_out(guardian_.begin(now()));
  while (!over_) {
    set_timer();
    flush_log();
    wait_for_events();
    // The agent's messages before its death, and both before the clock: what was sent in time is a
    // sign of life even when this process was held up. A passed deadline comes before everything.
    read_agent(kPacketsPerRound);
    read_signals();
    reap();
    carry_out(guardian_.tick(now()));
    tend_watchdog();
    if (guardian_.phase() == lease::ServerPhase::none) dismiss_heir();
  }
  // A rest that could not be killed leaves the device open and unfed: the host goes.
  if (guardian_.phase() == lease::ServerPhase::none) watchdog_.stop();
  kill_descendants({log_writer()});
  log("INFO", "guardian ends with exit code %d", exit_code_);
  flush_log();
  return exit_code_;
}

bool Keeper::open_descriptors() {
  auto set = signals_read();
  signal_fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  timer_fd_ = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (signal_fd_ >= 0 && timer_fd_ >= 0) return true;
  log("ERROR", "cannot make a signal or timer descriptor: %s", std::strerror(errno));
  flush_log();
  return false;
}

void Keeper::set_timer() {
  auto wake = guardian_.next_wake();
  if (guardian_.armed()) wake = std::min(wake, watchdog_.next_feed());
  itimerspec when{};
  if (wake != lease::Instant::max()) {
    auto ns = std::max<std::int64_t>(wake.time_since_epoch().count(), 1);
    when.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
  }
  timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &when, nullptr);
}

void Keeper::wait_for_events() {
  pollfd fds[] = {{signal_fd_, POLLIN, 0}, {timer_fd_, POLLIN, 0}, {agent_fd_, POLLIN, 0}};
  poll(fds, 3, -1);  // a negative descriptor is left out; EINTR is as good as an event
  std::uint64_t ticks = 0;
  if (read(timer_fd_, &ticks, sizeof ticks) < 0) ticks = 0;
}

void Keeper::read_signals() {
  signalfd_siginfo info{};
  while (read(signal_fd_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGHUP) carry_out(guardian_.reload_requested(now()));
    if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT) continue;
    log("INFO", "stop requested by signal %u", info.ssi_signo);
    carry_out(guardian_.stop_requested(now()));
  }
}

void Keeper::read_agent(int limit) {
  while (limit-- > 0 && agent_fd_ >= 0 && read_packet()) {
  }
}

bool Keeper::read_packet() {
  ssize_t n = recv(agent_fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (n < 0) return errno == EINTR;
  if (n == 0) {
    hang_up();  // it closed its end; silence will tell
    return false;
  }
  packet_ = Packet{};
  auto bytes = static_cast<std::size_t>(n);
  auto wrong = bytes > buffer_.size() ? std::string("too long")
                                      : parse_packet(buffer_.data(), bytes, packet_);
  if (!wrong.empty()) {
    log("WARNING", "a packet of the agent is refused: %s", wrong.c_str());
    return true;
  }
  look_at_watchdog();
  carry_out(guardian_.asked(guardian_.generation(), packet_.request, now()));
  return true;
}

// It is opened for an arming, or when a suspension of what is armed ends, and looked for meanwhile,
// so that an agent knows before it races.
void Keeper::look_at_watchdog() {
  const auto& request = packet_.request;
  using Ask = lease::Request::Kind;
  bool arms = request.kind == Ask::arm && !guardian_.suspended();
  bool resumes = request.kind == Ask::resume && guardian_.armed();
  auto ttl = arms ? request.ttl : guardian_.ttl();
  bool opens = (arms || resumes) && ttl > lease::Duration(0);
  bool works = opens ? watchdog_.start(ttl, now()) : !watchdog_.is_missing(now());
  carry_out(guardian_.watchdog_works(works, now()));
}

void Keeper::tend_watchdog() {
  switch (guardian_.watchdog_care()) {
    case lease::WatchdogCare::close:
      return watchdog_.stop();
    case lease::WatchdogCare::feed:
      return watchdog_.feed(now(), guardian_.deadline());
    case lease::WatchdogCare::leave:
      return;
  }
}

void Keeper::reap() {
  for (;;) {
    siginfo_t info{};
    int error = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
    if (error != 0 && errno == EINTR) continue;
    if (error != 0 || info.si_pid == 0) return;
    // While it is not reaped its number belongs to nobody else: the group can be killed safely.
    if (info.si_pid == agent_pid_ || jobs_.count(info.si_pid) != 0) kill(-info.si_pid, SIGKILL);
    int status = 0;
    if (waitpid(info.si_pid, &status, WNOHANG) == info.si_pid) reaped(info.si_pid, status);
  }
}

void Keeper::reaped(pid_t pid, int status) {
  if (pid == agent_pid_) {
    read_agent(kPacketsAtTheEnd);
    hang_up();
    agent_pid_ = 0;
    log("INFO", "agent %d ended: %s", pid, how_it_ended(status).c_str());
    carry_out(guardian_.agent_exited(status, now()));
  } else if (pid == server_pid_) {
    server_pid_ = 0;
    log("INFO", "postmaster %d ended: %s", pid, how_it_ended(status).c_str());
    carry_out(guardian_.server_exited(status, now()));
  } else if (pid == heir_pid_) {
    heir_pid_ = 0;
  } else if (pid == log_writer()) {
    log_writer_ended();
  } else if (auto job = jobs_.find(pid); job != jobs_.end()) {
    auto id = job->second;
    jobs_.erase(job);
    carry_out(guardian_.job_exited(id, status, now()));
  }
}

void Keeper::carry_out(const lease::Actions& actions) {
  for (const auto& action : actions) carry_out(action);
}

void Keeper::carry_out(const lease::Action& action) {
  using Do = lease::Action::Kind;
  switch (action.kind) {
    case Do::kill_server:
      return kill_server(action);
    case Do::ask_to_stop:
      return ask_to_stop(action.mode);
    case Do::pass_signal:
      if (server_pid_ > 0) kill(server_pid_, action.signal);
      return;
    case Do::start_server:
      return start_server();
    case Do::kill_agent:
      return kill_agent(action);
    case Do::start_agent:
      return start_agent();
    case Do::kill_job:
      return kill_job(action);
    case Do::start_job:
      return start_job(action.job);
    case Do::send:
      return send(action.notice);
    case Do::exit:
      if (!action.why.empty()) log("ERROR", "%s", action.why.c_str());
      exit_code_ = action.code;
      over_ = true;
      return;
  }
}

std::vector<pid_t> Keeper::spared() const {
  std::vector<pid_t> pids;
  if (agent_pid_ > 0) pids.push_back(agent_pid_);
  if (heir_pid_ > 0) pids.push_back(heir_pid_);
  if (log_writer() > 0) pids.push_back(log_writer());
  for (const auto& [pid, job] : jobs_) pids.push_back(pid);
  return pids;
}

void Keeper::kill_server(const lease::Action& action) {
  // First the postmaster, so that nothing new comes from it.
  if (server_pid_ > 0) kill(server_pid_, SIGKILL);
  auto left = kill_descendants(spared());
  if (!action.why.empty()) log("WARNING", "the server is killed: %s", action.why.c_str());
  auto before = guardian_.phase();
  auto actions = guardian_.swept(left, now());
  if (before == lease::ServerPhase::killing && guardian_.phase() == lease::ServerPhase::none) {
    log("INFO", "nothing is left of the server");
  }
  carry_out(actions);
}

void Keeper::ask_to_stop(lease::StopMode mode) {
  if (server_pid_ <= 0) return;
  kill(server_pid_, signal_of(mode));
  log("INFO", "server asked for a %s stop", name_of(mode));
}

void Keeper::start_server() {
  Program program{packet_.argv, packet_.environment, {}, -1};
  program.environment.emplace_back(kServerMark);
  pid_t pid = spawn(program, options_.inherited);
  if (pid < 0) {
    auto why = std::string("cannot fork: ") + std::strerror(errno);
    log("ERROR", "the server was not started: %s", why.c_str());
    return carry_out(guardian_.server_start_failed(why, now()));
  }
  server_pid_ = pid;
  log("INFO", "server started as a %s, postmaster %d",
      guardian_.as_primary() ? "primary" : "standby", pid);
  appoint_heir();
  carry_out(guardian_.server_started(pid, now()));
}

// For the program and the data directory of the server that was just started.
void Keeper::appoint_heir() {
  dismiss_heir();
  const auto& argv = packet_.argv;
  auto option = std::find(argv.begin(), argv.end(), "-D");
  if (option == argv.end() || option + 1 == argv.end()) return;
  auto pid = start_heir(argv.front(), *(option + 1));
  lock_memory_again();
  if (pid > 0) heir_pid_ = pid;
  if (pid < 0) log("WARNING", "the guardian has no heir: cannot fork: %s", std::strerror(errno));
}

void Keeper::dismiss_heir() {
  if (heir_pid_ > 0) kill(heir_pid_, SIGKILL);
  heir_pid_ = 0;
}

void Keeper::start_agent() {
  int ends[2] = {-1, -1};
  pid_t pid = -1;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
    Program program{options_.agent_argv, {}, {}, ends[1]};
    program.environment.push_back(std::string(kFdVariable) + "=" + std::to_string(kSocketInChild));
    pid = spawn(program, options_.inherited);
  }
  int error = errno;
  if (ends[1] >= 0) close(ends[1]);
  if (pid < 0) {
    if (ends[0] >= 0) close(ends[0]);
    log("ERROR", "the agent was not started: %s", std::strerror(error));
    return guardian_.agent_start_failed(now());
  }
  agent_pid_ = pid;
  agent_fd_ = ends[0];
  log("INFO", "agent started, process %d", pid);
  guardian_.agent_started(now());
}

void Keeper::kill_agent(const lease::Action& action) {
  if (agent_pid_ > 0) kill_group(agent_pid_);
  hang_up();
  log("WARNING", "the agent is killed: %s", action.why.c_str());
}

void Keeper::hang_up() {
  if (agent_fd_ >= 0) close(agent_fd_);
  agent_fd_ = -1;
}

void Keeper::start_job(std::int64_t job) {
  Program program{packet_.argv, packet_.environment, packet_.output_path, -1};
  pid_t pid = spawn(program, options_.inherited);
  if (pid < 0) {
    auto why = std::string("cannot fork: ") + std::strerror(errno);
    return carry_out(guardian_.job_start_failed(job, why, now()));
  }
  jobs_[pid] = job;
  guardian_.job_started(job, now());
}

void Keeper::kill_job(const lease::Action& action) {
  for (const auto& [pid, id] : jobs_) {
    if (id != action.job) continue;
    kill_group(pid);
    if (!action.why.empty()) log("WARNING", "job %d is killed: %s", pid, action.why.c_str());
  }
}

void Keeper::send(const lease::Notice& notice) {
  if (notice.kind == lease::Notice::Kind::refused && notice.text != last_refusal_) {
    log("WARNING", "the agent is refused: %s", notice.text.c_str());
    last_refusal_ = notice.text;
  }
  if (notice.kind == lease::Notice::Kind::armed) {
    last_refusal_.clear();
    if (notice.epoch.mod_revision != logged_epoch_) {
      logged_epoch_ = notice.epoch.mod_revision;
      log("INFO", "armed for lease %llx, revision %lld",
          static_cast<unsigned long long>(notice.epoch.lease),
          static_cast<long long>(notice.epoch.mod_revision));
    }
  }
  if (agent_fd_ < 0) return;
  auto packet = make_packet(notice, now());
  ssize_t sent = ::send(agent_fd_, packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS)) carry_out(guardian_.agent_deaf(now()));
}

}  // namespace pgsteady::guard
