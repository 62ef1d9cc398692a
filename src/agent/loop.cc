#include "agent/loop.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <random>

#include "base/clock.h"
#include "base/log.h"

namespace pgsteady::agent {
namespace asio = boost::asio;
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr auto kRepeatReason = seconds(10);  // a reason that stays the same is logged again
constexpr char kVersion[] = "4.1.4";         // what peers and patronictl branch on

lease::Instant boot_now() {
  return lease::Instant(boottime_now());
}

core::Identity identity(const config::NodeConfig& config) {
  core::Identity self;
  self.name = config.name;
  const auto& server = config.server;
  self.conn_url = fmt::format("postgres://{}/postgres", server.connect.text());
  self.api_url = fmt::format("http://{}/patroni", config.restapi.connect.text());
  self.version = kVersion;
  self.tags = config.tags;
  self.bootstrap_config = boost::json::serialize(config.bootstrap_dcs);
  self.bootstrap_ttl = dynamic_config_from_object(config.bootstrap_dcs).ttl;
  return self;
}

dcs::Options dcs_options(const config::NodeConfig& config) {
  const auto& etcd = config.etcd;
  return {etcd.endpoints, config.prefix(), etcd.tls,      etcd.ca_file,
          etcd.cert_file, etcd.key_file,   etcd.username, etcd.password};
}

core::ServerPhase phase_of(guard::ServerPhase phase) {
  return static_cast<core::ServerPhase>(phase);
}

LogLevel level_of(core::Reason::Level level) {
  return static_cast<LogLevel>(level);
}

std::string random_name() {
  std::random_device source;
  return fmt::format("{:08x}{:08x}", source(), source());
}

}  // namespace

Loop::Loop(const config::NodeConfig& config, std::unique_ptr<guard::Client> guard,
           StatusBoard& board, Promises& promises, Requests& requests)
    : config_(config),
      board_(board),
      promises_(promises),
      requests_(requests),
      guard_(std::move(guard)),
      guard_reader_(io_, guard_->fd()),
      timer_(io_),
      tick_timer_(io_),
      retry_timer_(io_),
      server_(io_, config.server),
      instance_(random_name()),
      self_(identity(config)) {
  auto post = [this](std::function<void()> f) { asio::post(io_, std::move(f)); };
  dcs_ = dcs::make_etcd(dcs_options(config), post);
  start_asker();
  start_renewer();
  requests_.open([this, post] { post([this] { wake(); }); });
}

Loop::~Loop() {
  requests_.close();
  renewer_.reset();
  asker_.reset();
  dcs_.reset();
  guard_reader_.release();  // the client closes it
}

// Only an epoch that decide() has armed is extended, straight from the thread that renewed it, so
// that neither a slow decision nor a busy loop costs a renewal.
void Loop::extend_deadline(const lease::Epoch& epoch, lease::Instant deadline,
                           lease::Duration ttl) {
  if (armed_revision_.load() != epoch.mod_revision) return;
  auto asked = boottime_now().count();
  if (!guard_->arm(epoch, deadline, ttl)) return;
  std::int64_t none = 0;
  guard_asked_ns_.compare_exchange_strong(none, asked);
}

bool Loop::shows_life() const {
  bool armed = armed_revision_.load() != 0;
  auto now = boottime_now().count();
  auto oldest = now - (armed ? patience_ns_.load() : lease::kUnarmedPatience.count());
  auto asked = guard_asked_ns_.load();
  return turned_at_ns_.load() > oldest && (asked == 0 || asked > oldest);
}

void Loop::start_renewer() {
  dcs::RenewerHooks hooks;
  hooks.extend = [this](const lease::Epoch& epoch, lease::Instant deadline, lease::Duration ttl) {
    asker_->renewed(epoch, deadline);
    extend_deadline(epoch, deadline, ttl);
  };
  hooks.may_renew = [this] { return shows_life(); };
  hooks.report = [this](const dcs::RenewalReport& report) { on_renewal(report); };
  auto post = [this](std::function<void()> f) { asio::post(io_, std::move(f)); };
  renewer_ = dcs::make_renewer(dcs_options(config_), config_.name, std::move(hooks), post);
}

int Loop::run() {
  patience_ns_ = nanoseconds(seconds(2)).count();
  turned_at_ns_ = boottime_now().count();
  seen_.interrupted_job = server_.interrupted_job();
  seen_.reclones = server_.reclones();
  lease::Epoch epoch;
  if (std::ifstream(epoch_file()) >> epoch.lease >> epoch.mod_revision) seen_.remembered = epoch;
  seen_.remembered_task = remembered_task();
  spawn(heartbeat());
  spawn(listen_to_guardian());
  spawn(tick());
  dcs_->watch([this] { read_dcs(); });
  while (!exit_code_ && io_.run_one() > 0) {
  }
  return exit_code_.value_or(1);
}

// A coroutine that throws leaves the agent blind: then it is better started anew.
void Loop::spawn(awaitable<void> work) {
  asio::co_spawn(io_, std::move(work), [this](const std::exception_ptr& error) {
    if (!error) return;
    log_error("an unexpected exception ends the agent");
    exit_code_ = 1;
  });
}

std::string Loop::epoch_file() const {
  return config_.server.state_dir + "/epoch";
}

void Loop::wake() {
  if (turn_due_) return;
  turn_due_ = true;
  asio::post(io_, [this] { turn(); });
}

void Loop::turn() {
  turn_due_ = false;
  if (!guard_known_ || exit_code_) return;
  if (reload_due_ && !reload_waits() && reload_now()) return;
  seen_.requests = requests_.take();
  core::Time now{boot_now(), std::chrono::system_clock::now()};
  seen_.promise = promises_.promise();
  auto decision = core::decide(state_, self_, seen_, now);
  seen_.txn_ends.clear();
  seen_.job_ends.clear();
  seen_.polls.clear();
  seen_.slots_failed = false;
  state_ = std::move(decision.state);
  if (!state_.lock) armed_revision_ = 0;
  tell_promises();
  patience_ns_ = lease::armed_patience(seen_.lease.ttl).count();
  log_reasons(decision);
  show(decision);
  carry_out(decision.actions);
  if (decision.read_now) read_dcs();
  if (decision.measure_now) measure();
  arm_timer(std::max(decision.next_wake, now.boot + milliseconds(5)));
}

// A steady reason is repeated every ten seconds; what is new is said at once.
void Loop::log_reasons(const core::Decision& decision) {
  auto now = boot_now();
  std::erase_if(said_, [&](const auto& entry) { return now - entry.second > kRepeatReason; });
  for (const auto& reason : decision.reasons) {
    auto shape = reason.text;  // figures that change every turn make no new reason
    std::erase_if(shape, [](unsigned char c) { return std::isdigit(c) || c == '.'; });
    if (said_.size() > 200 || !said_.emplace(shape, now).second) continue;
    log_line(level_of(reason.level), reason.text);
  }
  if (seen_.dcs.cluster.problems == problems_said_) return;
  problems_said_ = seen_.dcs.cluster.problems;
  for (const auto& problem : problems_said_) log_warning("in etcd: {}", problem);
}

void Loop::show(const core::Decision& decision) {
  NodeStatus status;
  status.scope = config_.scope;
  status.instance = instance_;
  status.name = config_.name;
  status.version = PGSTEADY_VERSION;
  status.state = decision.member_state;
  auto now = boot_now();
  // An epoch that replaces the armed one of this node is armed within a moment.
  status.has_lock = state_.lock && seen_.guard.armed.valid() && seen_.guard.deadline > now;
  status.failsafe_until = failsafe_until();
  status.cluster_unlocked = seen_.dcs.read_at && !seen_.dcs.cluster.leader;
  status.dcs_reachable = seen_.dcs.reachable;
  status.cluster = seen_.dcs.cluster;
  status.server = seen_.server;
  status.tags = config_.tags;
  status.loop_ran_at = now.time_since_epoch();
  status.ttl = seen_.lease.ttl.count() ? seen_.lease.ttl : status.cluster.settings().ttl;
  status.dcs_last_seen = dcs_last_seen_;
  if (status.has_lock) status.deadline = seen_.guard.deadline.time_since_epoch();
  status.renewal_latency = renewal_latency_;
  status.fence_events = fence_events_;
  status.unfit = decision.unfit;
  status.watchdog_failed = seen_.guard.watchdog_failed;
  if (decision.leaderless_revision) {
    status.race = {*decision.leaderless_revision, seen_.server.timeline, seen_.server.last_lsn()};
  }
  status.decision_time = boottime_now() - now.time_since_epoch();
  board_.publish(std::move(status));
}

void Loop::arm_timer(lease::Instant when) {
  timer_.expires_after(std::max<nanoseconds>(when - boot_now(), nanoseconds(0)));
  timer_.async_wait([this](boost::system::error_code error) {
    if (!error) wake();
  });
}

// Signs of life: for the renewal thread that this loop turns, for the guardian that we are there.
awaitable<void> Loop::heartbeat() {
  asio::steady_timer timer(io_);
  boost::system::error_code error;
  for (;;) {
    turned_at_ns_ = boottime_now().count();
    (void)guard_->alive();
    timer.expires_after(lease::heartbeat_interval(nanoseconds(patience_ns_.load())));
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

awaitable<void> Loop::listen_to_guardian() {
  boost::system::error_code error;
  for (;;) {
    auto message = guard_->receive();
    if (!message) {
      log_error("the guardian is gone: {}", message.error().message);
      exit_code_ = 1;
      co_return;
    }
    if (*message) {
      on_message(**message);
      continue;
    }
    co_await guard_reader_.async_wait(asio::posix::stream_descriptor::wait_read,
                                      asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return;
  }
}

void Loop::on_message(const guard::Message& message) {
  using guard::Kind;
  seen_.guard = {phase_of(message.phase),
                 message.as_primary,
                 message.epoch,
                 message.deadline,
                 message.ttl,
                 seen_.guard.refused,
                 message.suspended,
                 message.watchdog_failed};
  guard_known_ = true;
  guard_asked_ns_ = 0;
  switch (message.kind) {
    case Kind::refused:
      on_refused(message);
      break;
    case Kind::server_exited:
      on_server_exited(message);
      break;
    case Kind::job_exited:
      if (message.job == program_) program_end_ = message.code;
      return;
    case Kind::stop:
      log_info("asked to stop");
      seen_.stop_by = message.deadline;
      break;
    case Kind::reload:
      (void)act(core::Reload{});
      break;
    default:
      break;
  }
  // An extension that is in force changes nothing that a decision waits for.
  bool routine = message.kind == Kind::armed && state_.lock && message.epoch == *state_.lock &&
                 board_.read()->has_lock;
  if (!routine) wake();
}

void Loop::on_refused(const guard::Message& message) {
  using guard::Kind;
  log_warning("the guardian refused: {}", message.text);
  // An extension that came too late takes nothing away: the deadline that is in force decides.
  if (message.code == static_cast<int>(Kind::arm) && message.epoch != asked_epoch_) {
    seen_.guard.refused = asked_epoch_;
  }
  if (message.code == static_cast<int>(Kind::run_job)) program_refused_ = true;
}

void Loop::on_server_exited(const guard::Message& message) {
  if (message.fenced) {
    ++fence_events_;
    log_warning("the guardian fenced PostgreSQL: it is killed and reaped");
  } else {
    log_info("PostgreSQL has ended (wait status {})", message.code);
  }
  seen_.server.state = ServerState::stopped;
  seen_.server.control.reset();
  measure();
}

void Loop::on_renewal(const dcs::RenewalReport& report) {
  auto& lease = seen_.lease;
  bool first = report.state != lease.state || report.lease != lease.lease ||
               report.epoch != lease.epoch ||
               report.held_until.has_value() != lease.held_until.has_value();
  if (report.lease == lease.lease || report.lease == 0) {
    lease.state = report.state;
    lease.epoch = report.epoch;
    lease.held_until = report.held_until;
  }
  if (report.latency.count() > 0) renewal_latency_ = report.latency;
  if (first) wake();
}

}  // namespace pgsteady::agent
