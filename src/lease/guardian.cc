#include "lease/guardian.h"

#include <algorithm>
#include <utility>

#include "lease/mutant.h"

namespace pgsteady::lease {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kJobLimit = 16;
constexpr std::size_t kClosedLimit = 16;
constexpr Duration kLongestTtl = hours(24);
constexpr Duration kLongestLimit = hours(24 * 365);
constexpr Duration kRestartDelayLimit = seconds(1);
constexpr Duration kLastStopLimit = seconds(1);   // for a fast stop when the guardian ends
constexpr Duration kAgentExitLimit = seconds(2);  // after it said `finished`
constexpr Duration kExitLimit = seconds(4);  // then the end, reaped or not: all has been killed
constexpr Instant kNever = Instant::max();

std::string milliseconds_text(Duration duration) {
  return std::to_string(std::chrono::duration_cast<milliseconds>(duration).count()) + " ms";
}

Duration clamped(Duration limit) {
  return std::clamp(limit, Duration(0), kLongestLimit);
}

// 0 for the first death, then 50 ms, doubling, up to a second.
Duration restart_delay(int quick_deaths) {
  if (quick_deaths == 0) return Duration(0);
  return std::min<Duration>(milliseconds(50) * (1 << std::min(quick_deaths - 1, 5)),
                            kRestartDelayLimit);
}

}  // namespace

// --- the system's reports ------------------------------------------------------------------------

Actions Guardian::begin(Instant now) {
  agent_start_at_ = now;
  return tick(now);
}

Actions Guardian::tick(Instant now) {
  Actions out;
  check_deadline(now, out);
  check_stop(now, out);
  sweep(now, out);
  check_jobs(now, out);
  check_agent(now, out);
  check_ending(now, out);
  return out;
}

Instant Guardian::next_wake() const {
  Instant wake = kNever;
  auto at = [&wake](Instant when) { wake = std::min(wake, when); };
  if (armed_ && !suspended_ && !MUTANT(guardian_ignores_deadline)) at(deadline_);
  if (phase_ == ServerPhase::stopping) at(stop_deadline_);
  if (phase_ == ServerPhase::killing) at(next_sweep_);
  for (const auto& [id, job] : jobs_) {
    if (!job.killed) at(job.limit);
  }
  if (agent_ == Agent::starting) at(agent_started_at_ + kHelloLimit);
  if (agent_ == Agent::talking) at(last_sign_ + silence_limit(armed_.has_value(), ttl_));
  bool over = ending_ == Ending::finishing || ending_ == Ending::forced;
  if (agent_ == Agent::none && !over) at(agent_start_at_);
  if (ending_ == Ending::asked) at(stop_by_);
  if (ending_ == Ending::finishing && agent_ != Agent::none && agent_ != Agent::killed) {
    at(agent_exit_by_);
  }
  if (over) at(all_gone() ? Instant::min() : exit_by_);
  return wake;
}

void Guardian::agent_started(Instant now) {
  agent_ = Agent::starting;
  agent_started_at_ = last_sign_ = now;
}

void Guardian::agent_start_failed(Instant now) {
  agent_ = Agent::none;
  agent_start_at_ = now + kRestartDelayLimit;
}

Actions Guardian::agent_exited(int, Instant now) {
  Actions out;
  check_deadline(now, out);
  bool quick = now - agent_started_at_ < kRestartDelayLimit;
  if (!quick) quick_deaths_ = 0;
  agent_start_at_ = now + (quick ? restart_delay(quick_deaths_) : Duration(0));
  if (quick) ++quick_deaths_;
  agent_ = Agent::none;
  // The next agent knows nothing of them, and two jobs must never work on one data directory.
  for (auto& [id, job] : jobs_) {
    if (job.killed) continue;
    job.killed = true;
    out.push_back({.kind = Action::Kind::kill_job, .job = id, .why = "its agent is gone"});
  }
  return out;
}

Actions Guardian::agent_deaf(Instant now) {
  Actions out;
  check_deadline(now, out);
  if (agent_ == Agent::starting || agent_ == Agent::talking) {
    kill_agent("it does not read what it is told", out);
  }
  return out;
}

Actions Guardian::server_started(int pid, Instant) {
  Actions out;
  phase_ = ServerPhase::running;
  postmaster_alive_ = true;
  server_pid_ = pid;
  fenced_ = expired_ = false;
  send(Notice::Kind::server_started, out);
  send(Notice::Kind::status, out);
  return out;
}

Actions Guardian::server_start_failed(std::string why, Instant) {
  Actions out;
  refuse(Request::Kind::start_server, std::move(why), out);
  return out;
}

Actions Guardian::server_exited(int status, Instant now) {
  Actions out;
  postmaster_alive_ = false;
  server_status_ = status;
  if (phase_ == ServerPhase::running || phase_ == ServerPhase::stopping) {
    phase_ = ServerPhase::killing;
    killing_since_ = now;
  }
  check_deadline(now, out);
  sweep(now, out);
  return out;
}

Actions Guardian::swept(std::size_t left, Instant now) {
  Actions out;
  check_deadline(now, out);
  bool gone = left == 0 || MUTANT(reaped_too_early);
  if (phase_ == ServerPhase::killing && !postmaster_alive_ && gone) reaped(out);
  return out;
}

void Guardian::reaped(Actions& out) {
  phase_ = ServerPhase::none;
  server_pid_ = 0;
  as_primary_ = false;
  expired_ = false;
  Notice notice;
  notice.kind = Notice::Kind::server_exited;
  notice.code = server_status_;
  notice.fenced = fenced_;
  send(std::move(notice), out);
  send(Notice::Kind::status, out);
}

void Guardian::job_started(std::int64_t, Instant) {}

Actions Guardian::job_start_failed(std::int64_t job, std::string why, Instant) {
  Actions out;
  jobs_.erase(job);
  refuse(Request::Kind::run_job, std::move(why), out);
  return out;
}

Actions Guardian::job_exited(std::int64_t job, int status, Instant now) {
  Actions out;
  check_deadline(now, out);
  auto found = jobs_.find(job);
  if (found == jobs_.end()) return out;
  bool told = found->second.generation == generation_;
  jobs_.erase(found);
  if (!told) return out;
  Notice notice;
  notice.kind = Notice::Kind::job_exited;
  notice.job = job;
  notice.code = status;
  send(std::move(notice), out);
  return out;
}

Actions Guardian::stop_requested(Instant now) {
  Actions out;
  check_deadline(now, out);
  if (ending_ != Ending::no) return out;
  ending_ = Ending::asked;
  stop_by_ = now + options_.stop_limit;
  send(Notice::Kind::stop, out);
  return out;
}

Actions Guardian::reload_requested(Instant now) {
  Actions out;
  check_deadline(now, out);
  send(Notice::Kind::reload, out);
  return out;
}

Actions Guardian::watchdog_works(bool works, Instant now) {
  Actions out;
  check_deadline(now, out);
  if (watchdog_failed_ == works) {
    watchdog_failed_ = !works;
    send(Notice::Kind::status, out);
  }
  return out;
}

WatchdogCare Guardian::watchdog_care() const {
  if (suspended_) return WatchdogCare::close;
  if (armed_) return WatchdogCare::feed;
  return phase_ == ServerPhase::killing ? WatchdogCare::leave : WatchdogCare::close;
}

// --- what time brings ----------------------------------------------------------------------------

void Guardian::check_deadline(Instant now, Actions& out) {
  if (!armed_ || suspended_ || now < deadline_ || MUTANT(guardian_ignores_deadline)) return;
  auto late = now - deadline_;
  close_armed();
  if (phase_ != ServerPhase::none) {
    expired_ = true;
    kill_server(now, "its deadline passed " + milliseconds_text(late) + " ago", out);
  }
  send(Notice::Kind::status, out);
}

void Guardian::check_stop(Instant now, Actions& out) {
  if (phase_ != ServerPhase::stopping || now < stop_deadline_) return;
  kill_server(now, "it did not stop within its limit", out);
}

// Processes that the dying leave behind show up one after the other, so sweep until none is left.
void Guardian::sweep(Instant now, Actions& out) {
  if (phase_ != ServerPhase::killing) return;
  next_sweep_ = now + (now - killing_since_ < seconds(1) ? milliseconds(20) : milliseconds(250));
  for (const auto& action : out) {
    if (action.kind == Action::Kind::kill_server) return;
  }
  out.push_back({.kind = Action::Kind::kill_server});
}

void Guardian::check_jobs(Instant now, Actions& out) {
  for (auto& [id, job] : jobs_) {
    if (job.killed || now < job.limit) continue;
    job.killed = true;
    out.push_back({.kind = Action::Kind::kill_job, .job = id, .why = "its limit has passed"});
  }
}

void Guardian::check_agent(Instant now, Actions& out) {
  bool over = ending_ == Ending::finishing || ending_ == Ending::forced;
  if (agent_ == Agent::none && !over && now >= agent_start_at_) {
    ++generation_;
    out.push_back({.kind = Action::Kind::start_agent});
  } else if (agent_ == Agent::starting && now - agent_started_at_ >= kHelloLimit) {
    kill_agent("it did not say hello within " + milliseconds_text(kHelloLimit), out);
  } else if (agent_ == Agent::talking && !over) {
    auto limit = silence_limit(armed_.has_value(), ttl_);
    if (now - last_sign_ >= limit) {
      kill_agent("it has been silent for " + milliseconds_text(now - last_sign_), out);
    }
  }
}

void Guardian::check_ending(Instant now, Actions& out) {
  if (ending_ == Ending::no) return;
  if (ending_ == Ending::asked) {
    if (now < stop_by_) return;
    kill_agent("it did not finish within " + milliseconds_text(options_.stop_limit), out);
    wind_up(Ending::forced, 1, now, out);
  }
  bool agent_alive = agent_ == Agent::starting || agent_ == Agent::talking;
  if (agent_alive && now >= agent_exit_by_) kill_agent("it did not exit after it finished", out);
  bool clean = all_gone();
  if (!clean && now < exit_by_) return;
  out.push_back({.kind = Action::Kind::exit,
                 .code = exit_code_,
                 .why = clean ? "" : "not everything that was killed has ended"});
}

// The guardian is about to exit: nothing that it started may be left behind.
void Guardian::wind_up(Ending ending, int code, Instant now, Actions& out) {
  ending_ = ending;
  exit_code_ = code;
  agent_exit_by_ = now + kAgentExitLimit;
  exit_by_ = now + kExitLimit;
  if (phase_ == ServerPhase::running || phase_ == ServerPhase::stopping) {
    ask_to_stop(StopMode::fast, now + kLastStopLimit, out);
  }
  for (auto& [id, job] : jobs_) {
    job.killed = true;
    out.push_back({.kind = Action::Kind::kill_job, .job = id, .why = "the guardian ends"});
  }
}

// --- the agent's requests ------------------------------------------------------------------------

Actions Guardian::asked(std::uint64_t generation, const Request& request, Instant now) {
  Actions out;
  check_deadline(now, out);
  if (generation != generation_ || (agent_ != Agent::starting && agent_ != Agent::talking)) {
    return out;  // a superseded agent: there is nobody to answer to
  }
  if (agent_ == Agent::starting && request.kind != Request::Kind::hello) {
    refuse(request.kind, "say hello first", out);
    return out;
  }
  last_sign_ = now;
  handle(request, now, out);
  return out;
}

void Guardian::handle(const Request& request, Instant now, Actions& out) {
  switch (request.kind) {
    case Request::Kind::hello:
      return hello(out);
    case Request::Kind::alive:
      return;
    case Request::Kind::arm:
      return arm(request, now, out);
    case Request::Kind::disarm:
      return disarm(request, out);
    case Request::Kind::start_server:
      return start_server(request, now, out);
    case Request::Kind::stop_server:
      return stop_server(request, now, out);
    case Request::Kind::fence:
      return fence(now, out);
    case Request::Kind::signal_server:
      return signal_server(request, out);
    case Request::Kind::run_job:
      return run_job(request, now, out);
    case Request::Kind::kill_job:
      return kill_job(request, out);
    case Request::Kind::finished:
      return finish(request.code, now, out);
    case Request::Kind::suspend:
      return suspend(out);
    case Request::Kind::resume:
      return resume(now, out);
  }
}

void Guardian::hello(Actions& out) {
  agent_ = Agent::talking;
  send(Notice::Kind::status, out);
  if (ending_ == Ending::asked) send(Notice::Kind::stop, out);
}

std::string Guardian::why_not_arm(const Request& request, Instant now) const {
  const auto& epoch = request.epoch;
  if (!epoch.valid()) return "no such epoch";
  if (request.ttl <= Duration(0) || request.ttl > kLongestTtl) return "the ttl makes no sense";
  if (request.deadline > now + request.ttl) return "the deadline lies beyond now + ttl";
  if (request.deadline <= now) return "the deadline has passed already";
  // A suspended deadline fences nothing; once it is resumed, it can be moved on no more.
  if (watchdog_failed_ && !suspended_) return "the watchdog is required and does not work";
  if (expired_) return "the server of a passed deadline is not all reaped";
  if (is_over(epoch)) return "the epoch is over: it passed, or was disarmed, fenced or replaced";
  // With no server to protect another lease may come in: after a restore its revision is lower.
  bool binding = armed_ && (phase_ != ServerPhase::none || epoch.lease == armed_->lease);
  if (binding && epoch.mod_revision < armed_->mod_revision) return "a later epoch is armed";
  if (binding && epoch.mod_revision == armed_->mod_revision && epoch.lease != armed_->lease) {
    return "the epoch is armed with another lease";
  }
  if (ending_ == Ending::finishing || ending_ == Ending::forced) return "the guardian is ending";
  return {};
}

bool Guardian::is_over(const Epoch& epoch) const {
  return std::any_of(closed_.begin(), closed_.end(), [&epoch](const Epoch& closed) {
    return closed.lease == epoch.lease && epoch.mod_revision <= closed.mod_revision;
  });
}

void Guardian::close(const Epoch& epoch) {
  if (!epoch.valid() || is_over(epoch)) return;
  std::erase_if(closed_, [&epoch](const Epoch& closed) { return closed.lease == epoch.lease; });
  closed_.push_back(epoch);
  if (closed_.size() > kClosedLimit) closed_.erase(closed_.begin());
}

void Guardian::close_armed() {
  if (!armed_) return;
  close(*armed_);
  armed_.reset();
}

void Guardian::arm(const Request& request, Instant now, Actions& out) {
  auto why_not = why_not_arm(request, now);
  if (!why_not.empty()) return refuse(request.kind, std::move(why_not), out);
  // What was promised once stays promised: renewals may overtake each other.
  bool same = armed_ == request.epoch;
  deadline_ = same ? std::max(deadline_, request.deadline) : request.deadline;
  if (!same) close_armed();
  armed_ = request.epoch;
  ttl_ = request.ttl;
  send(Notice::Kind::armed, out);
}

void Guardian::disarm(const Request& request, Actions& out) {
  const auto& epoch = request.epoch;
  // A later epoch of the same lease takes the armed one along.
  bool armed = armed_ && armed_->lease == epoch.lease && armed_->mod_revision <= epoch.mod_revision;
  // Whatever ran under an armed deadline may have been promoted, so it must be gone first.
  if (armed && phase_ != ServerPhase::none) {
    return refuse(request.kind, "the server still lives", out);
  }
  close(epoch);  // also one that is not armed: its arming may still be on its way
  if (armed) close_armed();
  send(Notice::Kind::status, out);
}

void Guardian::start_server(const Request& request, Instant now, Actions& out) {
  if (phase_ != ServerPhase::none) {
    return refuse(request.kind, "a server runs, or something of it is not reaped", out);
  }
  if (ending_ == Ending::finishing || ending_ == Ending::forced) {
    return refuse(request.kind, "the guardian is ending", out);
  }
  if (job_of_former_agent()) return refuse(request.kind, "a former agent's job still lives", out);
  if (request.as_primary && (!armed_ || now >= deadline_)) {
    return refuse(request.kind, "a primary needs an armed deadline", out);
  }
  as_primary_ = request.as_primary;
  out.push_back({.kind = Action::Kind::start_server});
}

void Guardian::stop_server(const Request& request, Instant now, Actions& out) {
  if (phase_ == ServerPhase::none) return refuse(request.kind, "no server runs", out);
  if (phase_ == ServerPhase::killing) return;
  auto limit = now + clamped(request.limit);
  if (phase_ == ServerPhase::stopping) limit = std::min(limit, stop_deadline_);
  ask_to_stop(request.mode, limit, out);
}

void Guardian::ask_to_stop(StopMode mode, Instant limit, Actions& out) {
  bool change = phase_ != ServerPhase::stopping;
  phase_ = ServerPhase::stopping;
  stop_deadline_ = limit;
  out.push_back({.kind = Action::Kind::ask_to_stop, .mode = mode});
  if (change) send(Notice::Kind::status, out);
}

void Guardian::fence(Instant now, Actions& out) {
  close_armed();
  if (phase_ != ServerPhase::none) kill_server(now, "the agent fences it", out);
  send(Notice::Kind::status, out);
}

void Guardian::signal_server(const Request& request, Actions& out) {
  if (!postmaster_alive_) return refuse(request.kind, "no server runs", out);
  out.push_back({.kind = Action::Kind::pass_signal, .signal = request.signal});
}

bool Guardian::all_gone() const {
  return phase_ == ServerPhase::none && agent_ == Agent::none && jobs_.empty();
}

bool Guardian::job_of_former_agent() const {
  for (const auto& [id, job] : jobs_) {
    if (job.generation != generation_) return true;
  }
  return false;
}

void Guardian::run_job(const Request& request, Instant now, Actions& out) {
  if (jobs_.count(request.job) != 0) return refuse(request.kind, "the job runs already", out);
  if (jobs_.size() >= kJobLimit) return refuse(request.kind, "too many jobs", out);
  if (job_of_former_agent()) return refuse(request.kind, "a former agent's job still lives", out);
  if (ending_ == Ending::finishing || ending_ == Ending::forced) {
    return refuse(request.kind, "the guardian is ending", out);
  }
  jobs_[request.job] = {now + clamped(request.limit), generation_, false};
  out.push_back({.kind = Action::Kind::start_job, .job = request.job});
}

void Guardian::kill_job(const Request& request, Actions& out) {
  auto found = jobs_.find(request.job);
  if (found == jobs_.end()) return refuse(request.kind, "no such job", out);
  found->second.killed = true;
  out.push_back({.kind = Action::Kind::kill_job, .job = request.job});
}

void Guardian::suspend(Actions& out) {
  suspended_ = true;
  send(Notice::Kind::status, out);
}

void Guardian::resume(Instant now, Actions& out) {
  suspended_ = false;
  check_deadline(now, out);
  send(Notice::Kind::status, out);
}

void Guardian::finish(int code, Instant now, Actions& out) {
  if (ending_ == Ending::finishing || ending_ == Ending::forced) return;
  wind_up(Ending::finishing, code, now, out);
}

// --- helpers -------------------------------------------------------------------------------------

void Guardian::kill_server(Instant now, std::string why, Actions& out) {
  if (fenced_ && phase_ == ServerPhase::killing) return;  // the sweep goes on
  if (phase_ != ServerPhase::killing) killing_since_ = now;
  if (postmaster_alive_) fenced_ = true;
  phase_ = ServerPhase::killing;
  next_sweep_ = now + milliseconds(20);
  out.push_back({.kind = Action::Kind::kill_server, .why = std::move(why)});
  send(Notice::Kind::status, out);
}

void Guardian::kill_agent(std::string why, Actions& out) {
  if (agent_ == Agent::none || agent_ == Agent::killed) return;
  agent_ = Agent::killed;
  out.push_back({.kind = Action::Kind::kill_agent, .why = std::move(why)});
}

void Guardian::send(Notice::Kind kind, Actions& out) {
  Notice notice;
  notice.kind = kind;
  send(std::move(notice), out);
}

void Guardian::send(Notice notice, Actions& out) {
  if (agent_ != Agent::talking) return;  // the hello of the next one is answered with the status
  if (notice.kind == Notice::Kind::stop) notice.limit = stop_by_;
  tell(std::move(notice), out);
}

void Guardian::refuse(Request::Kind kind, std::string why, Actions& out) {
  if (agent_ != Agent::talking && agent_ != Agent::starting) return;
  Notice notice;
  notice.kind = Notice::Kind::refused;
  notice.refused = kind;
  notice.text = std::move(why);
  tell(std::move(notice), out);
}

void Guardian::tell(Notice notice, Actions& out) {
  notice.phase = phase_;
  notice.pid = server_pid_;
  notice.as_primary = as_primary_;
  notice.suspended = suspended_;
  notice.watchdog_failed = watchdog_failed_;
  if (armed_) {
    notice.epoch = *armed_;
    notice.deadline = deadline_;
    notice.ttl = ttl_;
  }
  out.push_back({.kind = Action::Kind::send, .notice = std::move(notice)});
}

}  // namespace pgsteady::lease
