#include "sim/agent.h"

#include <algorithm>

#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr std::size_t kSaidLimit = 8;

core::ServerPhase phase_of(lease::ServerPhase phase) {
  return static_cast<core::ServerPhase>(phase);
}

// Figures that change every turn make no new reason.
std::string shape_of(const std::string& text) {
  auto shape = text;
  std::erase_if(shape, [](unsigned char c) { return std::isdigit(c) || c == '.'; });
  return shape;
}

}  // namespace

Place place_of_address(const HostPort& address) {
  auto dot = address.host.rfind('.');
  if (dot == std::string::npos) return -1;
  return static_cast<Place>(parse_decimal(address.host.substr(dot + 1)).value_or(0)) - 1;
}

Agent::Agent(Host& host, std::uint64_t generation)
    : host_(host),
      world_(host.cluster().world),
      generation_(generation),
      rng_(world_.rng().fork()),
      dcs_(host, host.agent_actor()),
      renewer_(host, host.threads_actor(),
               {[this](const lease::Epoch& epoch, lease::Instant deadline, Duration ttl) {
                  asker_.renewed(epoch, deadline);
                  extend(epoch, deadline, ttl);
                },
                [this] { return may_renew(); },
                [this](const lease::Renewal& renewal) { on_renewal(renewal); }}),
      asker_(host, {[this](const lease::Epoch& epoch, lease::Instant deadline, Duration ttl) {
                      extend(epoch, deadline, ttl);
                    },
                    [this] { return may_renew(); },
                    [this](const core::FailsafeFacts& facts) { on_promises(facts); }}) {
  auto address = "10.0.0." + std::to_string(host.place() + 1);
  self_.name = host.name();
  self_.conn_url = "postgres://" + address + ":5432/postgres";
  self_.api_url = "http://" + address + ":8008/patroni";
  self_.version = "4.1.4";
  self_.bootstrap_config = config_json(host.cluster().settings);
  self_.bootstrap_ttl = seconds(host.cluster().settings.ttl_seconds);
  self_.tags = host.cluster().tags_of(host.name());
  dcs_.session.current = static_cast<int>(rng_.below(kEtcdMembers));
}

WallTime Agent::wall_now() const {
  return wall_time(world_.now()) + host_.wall_offset();
}

const Mutation* Agent::mutation() const {
  return host_.cluster().settings.mutation;
}

lease::Request Agent::request(lease::Request::Kind kind) const {
  lease::Request request;
  request.kind = kind;
  return request;
}

void Agent::begin() {
  turned_at_ = host_.now();
  seen_.interrupted_job = host_.disk().marker;
  seen_.remembered = host_.disk().epoch;
  seen_.remembered_task = host_.disk().failsafe_task;
  seen_.reclones = host_.disk().reclones;
  host_.ask_guardian(request(lease::Request::Kind::hello));
  heartbeat();
  tick();
  open_watch();
}

void Agent::extend(const lease::Epoch& epoch, lease::Instant deadline, Duration ttl) {
  if (armed_revision_ != epoch.mod_revision) return;
  auto asked = host_.now();
  auto arm = request(lease::Request::Kind::arm);
  arm.epoch = epoch;
  arm.deadline = deadline;
  arm.ttl = ttl;
  host_.ask_guardian(arm);
  if (!guard_asked_) guard_asked_ = asked;
}

bool Agent::may_renew() const {
  auto oldest = host_.now() - (armed_revision_ != 0 ? patience_ : lease::kUnarmedPatience);
  return turned_at_ > oldest && (!guard_asked_ || *guard_asked_ > oldest);
}

void Agent::wake() {
  if (turn_due_) return;
  turn_due_ = true;
  world_.after(microseconds(5), &host_.agent_actor(), [this] { turn(); });
}

void Agent::turn() {
  turn_due_ = false;
  if (!guard_known_ || finished_) return;
  if (reload_due_ && !reload_waits()) {
    finished_ = true;
    return host_.agent_finishes();
  }
  core::Time now{host_.now(), wall_now()};
  seen_.promise = promiser_.promise();
  const auto* change = mutation();
  if (change && change->before_decide) change->before_decide(seen_, state_);
  auto decision = core::decide(state_, self_, seen_, now);
  if (change && change->after_decide) change->after_decide(seen_, state_, decision);
  host_.cluster().checker.decided(host_.place(), seen_, decision);
  seen_.txn_ends.clear();
  seen_.job_ends.clear();
  seen_.polls.clear();
  seen_.requests.clear();
  seen_.slots_failed = false;
  state_ = std::move(decision.state);
  if (!state_.lock) armed_revision_ = 0;
  tell_promises();
  patience_ = lease::armed_patience(seen_.lease.ttl);
  note(decision);
  carry_out(decision.actions);
  if (decision.read_now) read_dcs();
  if (decision.measure_now) measure();
  arm_timer(std::max(decision.next_wake, now.boot + milliseconds(5)));
}

void Agent::note(const core::Decision& decision) {
  member_state_ = decision.member_state;
  unfit_ = decision.unfit;
  auto now = host_.now();
  has_lock_ = state_.lock && seen_.guard.armed == *state_.lock && seen_.guard.deadline > now;
  race_.reset();
  if (decision.leaderless_revision) {
    race_ =
        RaceFigure{*decision.leaderless_revision, seen_.server.timeline, seen_.server.last_lsn()};
  }
  if (!world_.on_line) return;
  for (const auto& reason : decision.reasons) {
    auto shape = shape_of(reason.text);
    if (std::find(said_.begin(), said_.end(), shape) != said_.end()) continue;
    said_.push_back(shape);
    if (said_.size() > kSaidLimit) said_.erase(said_.begin());
    world_.on_line(
        fmt::format("{:11.6f} {:6}   {}", in_seconds(world_.now()), host_.name(), reason.text));
  }
}

void Agent::arm_timer(lease::Instant when) {
  timer_at_ = when;
  auto timer = ++timer_;
  host_.after(when - host_.now(), host_.agent_actor(), [this, timer] {
    if (timer == timer_) wake();
  });
}

void Agent::heartbeat() {
  turned_at_ = host_.now();
  host_.ask_guardian(request(lease::Request::Kind::alive));
  host_.after(lease::heartbeat_interval(patience_), host_.agent_actor(), [this] { heartbeat(); });
}

void Agent::on_notice(const lease::Notice& notice) {
  using Kind = lease::Notice::Kind;
  seen_.guard = {
      phase_of(notice.phase), notice.as_primary, notice.epoch,          notice.deadline, notice.ttl,
      seen_.guard.refused,    notice.suspended,  notice.watchdog_failed};
  bool first = !guard_known_;
  guard_known_ = true;
  guard_asked_.reset();
  switch (notice.kind) {
    case Kind::refused:
      world_.trace(host_.name(), "the guardian refused: {}", notice.text);
      if (notice.refused == lease::Request::Kind::arm && notice.epoch != asked_epoch_) {
        seen_.guard.refused = asked_epoch_;
      }
      if (notice.refused == lease::Request::Kind::run_job && program_ended_) {
        std::exchange(program_ended_, nullptr)(false);
      }
      break;
    case Kind::server_exited:
      seen_.server.state = ServerState::stopped;
      seen_.server.control.reset();
      measure();
      break;
    case Kind::job_exited:
      if (notice.job == program_ && program_ended_) {
        std::exchange(program_ended_, nullptr)(notice.code == 0);
      }
      return;
    case Kind::stop:
      seen_.stop_by = notice.limit;
      break;
    default:
      break;
  }
  bool routine = !first && notice.kind == Kind::armed && state_.lock &&
                 notice.epoch == *state_.lock && has_lock_;
  if (!routine) wake();
}

// Posted by the renewal thread to the loop.
void Agent::on_renewal(const lease::Renewal& renewal) {
  core::LeaseFacts report{renewal.state(), renewal.lease(), renewal.ttl(), renewal.epoch(),
                          renewal.held_until()};
  world_.after(microseconds(10), &host_.agent_actor(), [this, report] {
    auto& lease = seen_.lease;
    bool first = report.state != lease.state || report.lease != lease.lease ||
                 report.epoch != lease.epoch ||
                 report.held_until.has_value() != lease.held_until.has_value();
    if (report.lease == lease.lease || report.lease == 0) {
      lease.state = report.state;
      lease.epoch = report.epoch;
      lease.held_until = report.held_until;
    }
    if (first) wake();
  });
}

core::PeerFigure Agent::figure() const {
  core::PeerFigure figure;
  figure.name = host_.name();
  figure.answered = true;
  figure.running = member_state_ == "running";
  figure.starting = member_state_ == "starting";
  const auto& server = seen_.server;
  figure.primary = figure.running && server.is_primary();
  figure.nofailover = self_.tags.nofailover() || unfit_;
  figure.failover_priority = self_.tags.failover_priority();
  figure.timeline = server.timeline;
  figure.lsn = server.last_lsn();
  if (race_) {
    figure.leaderless_revision = race_->revision;
    figure.timeline = race_->timeline;
    figure.lsn = race_->lsn;
  }
  return figure;
}

}  // namespace pgsteady::sim
