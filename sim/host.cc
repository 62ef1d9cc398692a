#include "sim/host.h"

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kLocalHop = microseconds(30);  // between two processes of one host
constexpr Duration kHeirWakes = milliseconds(2);
constexpr Duration kBoot = seconds(10);            // of a host that was reset
constexpr Duration kRestart = milliseconds(1500);  // a guardian that has ended is started again

const char* name_of(lease::Action::Kind kind) {
  using Do = lease::Action::Kind;
  switch (kind) {
    case Do::kill_server:
      return "kills the server";
    case Do::ask_to_stop:
      return "asks the server to stop";
    case Do::kill_agent:
      return "kills the agent";
    case Do::start_server:
      return "starts the server";
    case Do::start_agent:
      return "starts the agent";
    case Do::exit:
      return "ends";
    default:
      return nullptr;
  }
}

}  // namespace

Host::Host(Cluster& cluster, Place place)
    : cluster_(cluster),
      place_(place),
      name_("pg" + std::to_string(place + 1)),
      clock_(cluster.world.rng().between(seconds(1000), seconds(90000)),
             int(cluster.world.rng().between(-45'000, 45'000))),
      belongs_(place < cluster.settings.nodes),
      watchdog_(cluster.world, [this] { reset(); }) {
  Postgres::Surroundings around{cluster.world,
                                cluster.network,
                                cluster.tree,
                                place,
                                name_,
                                disk_,
                                cluster.archive,
                                [&cluster](Place other) { return &cluster.host(other).server(); },
                                [&cluster](Place other) { return cluster.host(other).name(); },
                                [this] { server_exited(); },
                                [this] { lose_data(); },
                                [this] { cluster_.checker.writability_changed(place_); },
                                [this](const WalPoint& commit, int waited_for) {
                                  cluster_.world.mix(commit.end.value);
                                  cluster_.checker.acknowledged(place_, commit, waited_for);
                                }};
  server_ = std::make_unique<Postgres>(std::move(around));
}

Host::~Host() = default;

lease::Instant Host::now() const {
  return clock_.read(cluster_.world.now());
}

void Host::after(Duration delay, Actor& actor, Task task) {
  cluster_.world.after(clock_.true_length(std::max(delay, Duration(0))), &actor, std::move(task));
}

lease::Instant Host::fenced_by() const {
  auto deadline = guardian_->deadline();
  if (!cluster_.settings.watchdog || !guardian_actor_.frozen()) return deadline;
  return deadline + lease::margin(std::min(guardian_->ttl(), lease::kLongestPromise));
}

bool Host::was_well(Duration length) const {
  return on_ && disturbances_ == 0 && cluster_.world.now() - disturbed_at_ > length &&
         agent_actor_.runs();
}

void Host::disturbed(int by) {
  disturbances_ += by;
  disturbed_at_ = cluster_.world.now();
}

bool Host::outside_assumptions() const {
  return cluster_.world.now() < outside_until_ || standstills_ > 0;
}

// --- the guardian, as src/guard/keeper drives it -----------------------------------------------

void Host::begin_guardian() {
  guardian_ = std::make_unique<lease::Guardian>(lease::GuardianOptions{});
  guardian_actor_.begin();
  server_->left_to_init();
  carry_out(guardian_->begin(now()));
  batch_done();
}

void Host::batch_done() {
  if (!guardian_actor_.alive()) return;
  carry_out(guardian_->tick(now()));
  if (!guardian_actor_.alive()) return;
  tend_watchdog();
  set_timer();
}

void Host::look_at_watchdog(const lease::Request& request) {
  if (!cluster_.settings.watchdog) return;
  using Ask = lease::Request::Kind;
  bool arms = request.kind == Ask::arm && !guardian_->suspended();
  bool resumes = request.kind == Ask::resume && guardian_->armed();
  auto ttl = arms ? request.ttl : guardian_->ttl();
  if ((arms || resumes) && ttl > Duration(0)) watchdog_.start(ttl);
}

void Host::tend_watchdog() {
  switch (guardian_->watchdog_care()) {
    case lease::WatchdogCare::close:
      return watchdog_.stop();
    case lease::WatchdogCare::feed:
      return watchdog_.feed(now(), guardian_->deadline());
    case lease::WatchdogCare::leave:
      return;
  }
}

void Host::reset() {
  cluster_.world.reached("a watchdog reset its host");
  cluster_.world.trace(name_, "the watchdog resets the host");
  power_off();
  cluster_.world.after(kBoot, nullptr, [this] { power_on(); });
}

void Host::set_timer() {
  if (!guardian_actor_.alive()) return;
  auto wake = guardian_->next_wake();
  if (guardian_->armed()) wake = std::min(wake, watchdog_.next_feed());
  if (wake == timer_at_) return;
  timer_at_ = wake;
  auto timer = ++timer_;
  if (wake == lease::Instant::max()) return;
  // Instant::min() is at once.
  after(std::max(wake, now()) - now() + std::chrono::nanoseconds(1), guardian_actor_,
        [this, timer] {
          if (timer != timer_) return;
          timer_at_ = lease::Instant::max();
          batch_done();
        });
}

void Host::carry_out(const lease::Actions& actions) {
  for (const auto& action : actions) {
    if (!guardian_actor_.alive()) return;
    carry_out(action);
  }
}

void Host::carry_out(const lease::Action& action) {
  using Do = lease::Action::Kind;
  if (const char* does = name_of(action.kind);
      does && (action.kind != Do::kill_server || !action.why.empty())) {
    cluster_.world.trace(name_, "guardian {}{}{}", does, action.why.empty() ? "" : ": ",
                         action.why);
  }
  switch (action.kind) {
    case Do::kill_server:
      return sweep(action);
    case Do::ask_to_stop:
      if (action.mode == lease::StopMode::immediate) return server_->stop_immediate();
      return server_->stop_fast();
    case Do::pass_signal:
      return action.signal == 1 ? server_->reload() : server_->promote_signal();
    case Do::start_server:
      server_->start();
      return carry_out(guardian_->server_started(100, now()));
    case Do::kill_agent:
      return agent_ended(9);
    case Do::start_agent:
      return start_agent();
    case Do::kill_job:
      if (agent_) agent_->program_killed(action.job);
      return cluster_.world.after(kLocalHop, &guardian_actor_, [this, job = action.job] {
        carry_out(guardian_->job_exited(job, 9, now()));
        batch_done();
      });
    case Do::start_job:
      return guardian_->job_started(action.job, now());
    case Do::send:
      return send(action.notice);
    case Do::exit:
      return end_all(action.code);
  }
}

void Host::sweep(const lease::Action&) {
  carry_out(guardian_->swept(server_->kill(), now()));
}

void Host::server_exited() {
  if (!guardian_actor_.alive()) return;
  cluster_.world.after(kLocalHop, &guardian_actor_, [this] {
    carry_out(guardian_->server_exited(0, now()));
    batch_done();
  });
}

void Host::send(const lease::Notice& notice) {
  cluster_.world.after(kLocalHop, &agent_actor_, [this, notice] { agent_->on_notice(notice); });
}

void Host::ask_guardian(lease::Request request) {
  auto generation = agent_->generation();
  const auto* mutation = cluster_.settings.mutation;
  if (mutation && mutation->before_asked && !mutation->before_asked(request)) return;
  cluster_.world.after(kLocalHop, &guardian_actor_, [this, generation, request] {
    look_at_watchdog(request);
    carry_out(guardian_->asked(generation, request, now()));
    batch_done();
  });
}

void Host::program_exited(std::int64_t job) {
  cluster_.world.after(kLocalHop, &guardian_actor_, [this, job] {
    carry_out(guardian_->job_exited(job, 0, now()));
    batch_done();
  });
}

void Host::start_agent() {
  retired_.clear();
  guardian_->agent_started(now());
  agent_actor_.begin();
  threads_actor_.begin();
  agent_ = std::make_unique<Agent>(*this, guardian_->generation());
  // Its own start: reading the configuration, connecting.
  after(milliseconds(30), agent_actor_, [this] { agent_->begin(); });
}

void Host::end_agent() {
  agent_actor_.end();
  threads_actor_.end();
  cluster_.etcd.unwatch(place_);
  if (agent_) retired_.push_back(std::move(agent_));
}

// The guardian exits: what it has killed or stopped is gone, what was not is killed with it.
void Host::end_all(int) {
  if (server_->actor().alive()) {
    cluster_.world.trace(name_, "the server is killed with its guardian");
    server_->kill();
  }
  if (guardian_->phase() == lease::ServerPhase::none) watchdog_.stop();
  end_guardian();
  restart_later();
}

void Host::end_guardian() {
  end_agent();
  watchdog_.abandon();
  guardian_actor_.end();
  ++timer_;
  timer_at_ = lease::Instant::max();
}

// A new guardian neither kills what is left of a server nor starts another beside it.
void Host::restart_later() {
  cluster_.world.after(kRestart, nullptr, [this] {
    if (!on_ || !wanted_ || guardian_actor_.alive()) return;
    if (server_->actor().alive() || server_->kill() > 0) return restart_later();
    begin_guardian();
  });
}

// What src/guard/heir.cc does.
void Host::inherit() {
  cluster_.world.after(kHeirWakes, nullptr, [this] {
    if (on_ && !guardian_actor_.alive() && server_->kill() > 0) inherit();
  });
}

// --- faults and operators ----------------------------------------------------------------------

void Host::join() {
  if (belongs_) return;
  belongs_ = true;
  power_on();
}

void Host::remove() {
  power_off();
  belongs_ = false;
  wipe();
}

void Host::power_on() {
  if (on_ || !belongs_) return;
  on_ = wanted_ = true;
  cluster_.world.trace(name_, "power on");
  begin_guardian();
}

void Host::power_off() {
  if (!on_) return;
  cluster_.world.trace(name_, "power off");
  on_ = false;
  server_->power_off();
  end_guardian();
  watchdog_.power_off();
}

void Host::stop() {
  if (!on_ || !guardian_actor_.alive()) return;
  cluster_.world.trace(name_, "SIGTERM");
  wanted_ = false;
  cluster_.world.after(kLocalHop, &guardian_actor_, [this] {
    carry_out(guardian_->stop_requested(now()));
    batch_done();
  });
}

void Host::start() {
  wanted_ = true;
  if (!on_) return power_on();
  if (!guardian_actor_.alive()) begin_guardian();
}

void Host::agent_finishes() {
  after(milliseconds(3), agent_actor_, [this] { agent_ended(0); });
}

void Host::kill_agent() {
  if (!agent_actor_.alive()) return;
  cluster_.world.trace(name_, "the agent is killed");
  agent_ended(9);
}

void Host::kill_guardian() {
  if (!guardian_actor_.alive()) return;
  cluster_.world.trace(name_, "the guardian is killed");
  end_guardian();
  cluster_.world.reached("a server was killed by its guardian's heir");
  inherit();
  restart_later();
}

void Host::agent_ended(int status) {
  end_agent();
  cluster_.world.after(kLocalHop, &guardian_actor_, [this, status] {
    carry_out(guardian_->agent_exited(status, now()));
    batch_done();
  });
}

void Host::freeze_loop(bool frozen) {
  frozen ? cluster_.world.freeze(agent_actor_) : cluster_.world.thaw(agent_actor_);
}

void Host::freeze_agent(bool frozen) {
  freeze_loop(frozen);
  frozen ? cluster_.world.freeze(threads_actor_) : cluster_.world.thaw(threads_actor_);
}

void Host::freeze_server(bool frozen) {
  frozen ? cluster_.world.freeze(server_->actor()) : cluster_.world.thaw(server_->actor());
  cluster_.checker.writability_changed(place_);
}

void Host::freeze(bool frozen, bool clock_too) {
  auto& world = cluster_.world;
  standstills_ += frozen ? 1 : -1;
  if (clock_too) {
    clock_.stand_still(world.now(), frozen);
    watchdog_.suspend(frozen);
  }
  // A clock that stood still tells its guardian a deadline that is over for everybody else.
  excuse(clock_too ? seconds(40) : milliseconds(50));
  // What of it runs first afterwards, nobody can say: here the server does.
  freeze_server(frozen);
  freeze_agent(frozen);
  frozen ? world.freeze(guardian_actor_) : world.thaw(guardian_actor_);
  if (!frozen) world.after(milliseconds(5), &guardian_actor_, [this] { batch_done(); });
}

void Host::freeze_guardian(bool frozen) {
  auto& world = cluster_.world;
  if (!cluster_.settings.watchdog) {
    standstills_ += frozen ? 1 : -1;
    excuse(seconds(1));
  }
  frozen ? world.freeze(guardian_actor_) : world.thaw(guardian_actor_);
  if (!frozen) world.after(milliseconds(5), &guardian_actor_, [this] { batch_done(); });
}

void Host::thrash(const std::shared_ptr<bool>& goes_on) {
  if (!*goes_on) return;
  auto& world = cluster_.world;
  bool agent = world.rng().one_in(2), server = world.rng().one_in(2);
  if (agent) freeze_agent(true);
  if (server) freeze_server(true);
  world.after(world.rng().between(milliseconds(5), milliseconds(900)), nullptr,
              [this, goes_on, agent, server] {
                if (agent) freeze_agent(false);
                if (server) freeze_server(false);
                auto runs = cluster_.world.rng().between(milliseconds(1), milliseconds(60));
                cluster_.world.after(runs, nullptr, [this, goes_on] { thrash(goes_on); });
              });
}

void Host::set_drift(int ppm) {
  clock_.set_drift(cluster_.world.now(), ppm);
  timer_at_ = lease::Instant::max();
  cluster_.world.after(kLocalHop, &guardian_actor_, [this] { batch_done(); });
}

void Host::hang_disk(bool hangs) {
  disk_.hangs += hangs ? 1 : -1;
  if (disk_.hangs == 0) server_->disk_answers();
  cluster_.checker.writability_changed(place_);
}

void Host::wipe() {
  cluster_.world.trace(name_, "the disk is lost");
  cluster_.checker.wiped(place_);
  Disk fresh;
  fresh.hangs = disk_.hangs;
  fresh.full = disk_.full;
  disk_ = fresh;
}

void Host::lose_data() {
  auto beside = disk_;
  wipe();
  disk_.marker = beside.marker;
  disk_.epoch = beside.epoch;
  disk_.failsafe_task = beside.failsafe_task;
  disk_.kept = beside.kept;
  disk_.reclones = beside.reclones;
}

void Host::take_foreign_disk() {
  wipe();
  disk_.data = DataDirectory::valid;
  disk_.wal = cluster_.tree.plant();
  disk_.wal.end.value += std::uint64_t{64} << 20;
  disk_.control.system_id = cluster_.tree.system(disk_.wal.branch);
  disk_.control.state = "shut down in recovery";
  disk_.control.timeline = 1;
  disk_.control.min_recovery_timeline = 1;
  disk_.control.checkpoint = disk_.control.min_recovery = disk_.wal.end;
  disk_.control.checksums = true;
}

void Host::excuse(Duration span) {
  outside_until_ = std::max(outside_until_, cluster_.world.now() + span);
}

}  // namespace pgsteady::sim
