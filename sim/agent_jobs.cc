// The jobs that change the server, as src/agent/jobs.cc has them.
#include <csignal>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kLookAgain = milliseconds(10);
constexpr Duration kPromoteAgain = milliseconds(100);
constexpr Duration kReloadAgain = milliseconds(2000);
constexpr Duration kCheckpointOfLeader = seconds(30);

}  // namespace

bool Agent::start_job(core::JobKind kind) {
  if (seen_.job) return false;
  seen_.job = kind;
  job_harmless_ = cancelled_ = seen_.job_waits = false;
  ++job_;
  return true;
}

void Agent::end_job(bool ok, std::string message) {
  auto kind = *seen_.job;
  seen_.job.reset();
  seen_.job_waits = false;
  ++job_;
  program_ended_ = nullptr;
  seen_.interrupted_job = host_.disk().marker;
  seen_.job_ends.push_back({kind, ok, job_harmless_, std::move(message)});
  if (server_gone()) {
    seen_.server.data = DataDirectory::unknown;
    seen_.server.control.reset();
  }
  measure();
  wake();
}

void Agent::later(Duration delay, Task task) {
  host_.after(delay, host_.agent_actor(), [this, job = job_, task = std::move(task)] {
    if (job != job_) return;
    if (cancelled_) return end_job(false, "cancelled");
    task();
  });
}

void Agent::poll(Duration every, std::function<bool()> step) {
  auto job = job_;
  if (step() || job != job_) return;
  later(every, [this, every, step = std::move(step)] { poll(every, step); });
}

bool Agent::reachable(Place other) const {
  auto& host = host_.cluster().host(other);
  return host_.cluster().network.whole_both_ways(host_.place(), other) &&
         host.server().serves_replication() && !host.disk().unlinked;
}

// The guardian runs it; `effect` happens when it has done its work, `ended` tells how it ended.
void Agent::run_program(Duration takes, std::function<void()> effect,
                        std::function<void(bool)> ended) {
  program_ = next_program_++;
  auto run = request(lease::Request::Kind::run_job);
  run.job = program_;
  run.limit = std::chrono::hours(1);
  host_.ask_guardian(run);
  program_ended_ = std::move(ended);
  host_.after(takes, host_.threads_actor(), [this, program = program_, effect = std::move(effect)] {
    if (program != program_ || !program_ended_) return;
    effect();
    host_.program_exited(program);
  });
  // A job that is cancelled has its program killed.
  poll(milliseconds(50), [this, program = program_] {
    if (!cancelled_) return false;
    auto kill = request(lease::Request::Kind::kill_job);
    kill.job = program;
    host_.ask_guardian(kill);
    program_ = 0;
    end_job(false, "cancelled");
    return true;
  });
}

void Agent::program_killed(std::int64_t job) {
  if (job == program_) program_ = 0;
}

bool Agent::write_configuration(bool as_standby,
                                const std::optional<core::UpstreamMember>& upstream) {
  auto& disk = host_.disk();
  std::optional<Place> from;
  if (as_standby && upstream) from = place_of_address(upstream->address);
  const auto& settings = seen_.dcs.cluster.settings();
  auto sync_names = core::knows_settings(seen_)
                        ? core::sync_names_for_file(state_, settings).value_or("")
                        : disk.sync_names;
  bool changed =
      disk.standby_signal != as_standby || disk.upstream != from || disk.sync_names != sync_names;
  disk.standby_signal = as_standby;
  disk.upstream = from;
  disk.sync_names = std::move(sync_names);
  return changed;
}

// --- making a data directory -------------------------------------------------------------------

void Agent::keep_diverged_wal() {
  if (mutation() && !mutation()->keeps_diverged_wal) return;
  auto& disk = host_.disk();
  if (disk.wal.branch >= 0 && disk.data == DataDirectory::valid) disk.kept.push_back(disk.wal);
}

void Agent::clear_directory() {
  auto& disk = host_.disk();
  keep_diverged_wal();
  host_.cluster().checker.directory_changes(host_.place(), {});
  world_.trace(host_.name(), "clears its data directory");
  disk.data = DataDirectory::empty;
  disk.wal = {};
  disk.control = {};
  disk.torn = disk.inconsistent = false;
}

bool Agent::act(const core::RunInitdb&) {
  if (!start_job(core::JobKind::initdb)) return false;
  auto& disk = host_.disk();
  disk.marker = "initdb";
  if (disk.data != DataDirectory::empty) {
    if (disk.control.timeline > 1) {
      end_job(false, "the data directory holds a cluster that has been promoted");
      return true;
    }
    clear_directory();
  }
  disk.data = DataDirectory::broken;
  auto effect = [this] {
    auto& made = host_.disk();
    if (made.full > 0) return;
    made.wal = host_.cluster().tree.plant();
    made.data = DataDirectory::valid;
    made.newest_timeline = 1;
    made.control = {};
    made.control.system_id = host_.cluster().tree.system(made.wal.branch);
    made.control.state = "shut down";
    made.control.timeline = 1;
    made.control.checkpoint = Lsn{made.wal.end.value - 120};
    made.control.checksums = true;
    world_.trace(host_.name(), "initdb made system {}", made.control.system_id.text());
  };
  run_program(rng_.between(milliseconds(300), milliseconds(1200)), effect, [this](bool) {
    bool ok = host_.disk().data == DataDirectory::valid;
    end_job(ok, ok ? "initdb" : "initdb failed");
  });
  return true;
}

bool Agent::act(const core::Clone& a) {
  if (!start_job(core::JobKind::clone)) return false;
  if (!reachable(place_of_address(a.from.address))) {
    job_harmless_ = true;
    later(milliseconds(20), [this] { end_job(false, "the source cannot be reached"); });
    return true;
  }
  if (!a.why.empty()) {
    host_.disk().reclones.push_back(wall_now());
    seen_.reclones = host_.disk().reclones;
    world_.reached("a replica was cloned anew by itself");
  }
  host_.disk().marker = "clone";
  if (host_.disk().data == DataDirectory::empty) {
    run_clone(a.from);
    return true;
  }
  later(rng_.between(milliseconds(5), milliseconds(60)), [this, from = a.from] {
    clear_directory();
    run_clone(from);
  });
  return true;
}

void Agent::run_clone(const core::UpstreamMember& from) {
  auto place = place_of_address(from.address);
  auto life = host_.cluster().host(place).server().actor().life();
  world_.trace(host_.name(), "clones from {}", from.name);
  host_.disk().data = DataDirectory::broken;
  run_program(
      rng_.between(milliseconds(300), milliseconds(3000)),
      [this, place, life] { end_clone(place, life); },
      [this, from](bool) {
        bool ok = host_.disk().data == DataDirectory::valid;
        if (ok) host_.disk().marker.reset();
        end_job(ok, ok ? from.name : "pg_basebackup failed");
      });
}

void Agent::end_clone(Place from, std::uint64_t life) {
  auto& disk = host_.disk();
  auto& source = host_.cluster().host(from);
  if (!reachable(from) || source.server().actor().life() != life || disk.hangs > 0 ||
      disk.full > 0) {
    disk.data = DataDirectory::empty;  // it removes what it made
    return;
  }
  disk.data = DataDirectory::valid;
  disk.wal = source.disk().wal;
  disk.newest_timeline = source.disk().newest_timeline;
  disk.control = source.disk().control;
  disk.control.timeline = host_.cluster().tree.timeline(disk.wal.branch);
  disk.control.min_recovery = disk.wal.end;
  disk.control.min_recovery_timeline = disk.control.timeline;
  disk.torn = disk.starved = disk.inconsistent = disk.control.within_backup = false;
}

// --- rewind ------------------------------------------------------------------------------------

bool Agent::act(const core::Rewind& a) {
  if (!start_job(core::JobKind::rewind)) return false;
  job_harmless_ = seen_.job_waits = true;
  wait_to_rewind(a.from, host_.now() + kCheckpointOfLeader);
  return true;
}

// The leader's control file has to tell its new timeline.
void Agent::wait_to_rewind(const core::UpstreamMember& from, lease::Instant give_up_at) {
  const auto* leader = seen_.dcs.cluster.member(from.name);
  auto wanted = leader ? leader->timeline : 0;
  poll(milliseconds(200), [this, from, give_up_at, wanted] {
    if (cancelled_) {
      end_job(false, "cancelled");
      return true;
    }
    auto place = place_of_address(from.address);
    bool told = reachable(place);
    if (told && host_.cluster().host(place).disk().control.timeline >= wanted) {
      run_rewind(from);
      return true;
    }
    if (host_.now() <= give_up_at) return false;
    end_job(false, told ? "the leader has made no checkpoint since its promotion"
                        : "the leader cannot be reached");
    return true;
  });
}

void Agent::run_rewind(const core::UpstreamMember& from) {
  auto place = place_of_address(from.address);
  auto life = host_.cluster().host(place).server().actor().life();
  auto takes = rng_.between(milliseconds(100), milliseconds(1500));
  keep_diverged_wal();
  host_.disk().marker = "rewind";
  job_harmless_ = seen_.job_waits = false;
  world_.trace(host_.name(), "rewinds from {}", from.name);
  // In the middle of it, the directory is neither the one nor the other.
  host_.after(takes / 2, host_.threads_actor(), [this, program = next_program_, place] {
    auto& disk = host_.disk();
    const auto& tree = host_.cluster().tree;
    const auto& theirs = host_.cluster().host(place).disk().wal;
    if (program != program_ || !program_ended_ || !reachable(place)) return;
    if (disk.data != DataDirectory::valid) return;
    if (tree.timeline(disk.wal.branch) == tree.timeline(theirs.branch)) return;
    disk.torn = true;
  });
  run_program(
      takes, [this, place, life] { end_rewind(place, life); },
      [this, from](bool) {
        bool whole = !host_.disk().torn;
        bool ok = whole && rewound_;
        if (whole) host_.disk().marker.reset();
        end_job(ok, ok ? from.name : "pg_rewind failed");
      });
}

void Agent::end_rewind(Place from, std::uint64_t life) {
  auto& disk = host_.disk();
  auto& source = host_.cluster().host(from);
  const auto& tree = host_.cluster().tree;
  rewound_ = false;
  if (disk.data != DataDirectory::valid) return;  // it is not there any more
  if (!reachable(from) || source.server().actor().life() != life || disk.hangs > 0) return;
  if (host_.server().troubles().breaks_rewind) {
    world_.reached("a rewind broke in the middle");
    return;
  }
  rewound_ = true;
  // "source and target cluster are on the same timeline"
  if (tree.timeline(disk.wal.branch) == tree.timeline(source.disk().wal.branch)) return;
  if (!disk.torn) {
    rewound_ = false;
    return;
  }
  auto common = tree.common(disk.wal, source.disk().wal);
  host_.cluster().checker.directory_changes(host_.place(), common);
  disk.torn = false;
  disk.wal = common;
  disk.newest_timeline = source.disk().newest_timeline;
  disk.inconsistent = disk.control.within_backup = true;
  disk.control.state = "in production";
  disk.control.timeline = source.disk().control.timeline;
  disk.pages_of = source.disk().wal;
  disk.control.min_recovery = source.disk().wal.end;
  disk.control.min_recovery_timeline = tree.timeline(source.disk().wal.branch);
  world_.trace(host_.name(), "rewound to {}", common.end.text());
}

// --- starting, stopping, promoting -------------------------------------------------------------

bool Agent::act(const core::StartServer& a) {
  if (a.as_primary && (!state_.lock || seen_.guard.armed != *state_.lock)) return false;
  if (!start_job(core::JobKind::start)) return false;
  auto give_up_at = host_.now() + seconds(5);
  write_configuration(!a.as_primary, a.upstream);
  seen_.server.state = ServerState::starting;
  auto start = request(lease::Request::Kind::start_server);
  start.as_primary = a.as_primary;
  host_.ask_guardian(start);
  poll(kLookAgain, [this, give_up_at] {
    if (!server_gone()) {
      end_job(true, "started");
    } else if (host_.now() >= give_up_at) {
      end_job(false, "the guardian did not start it");
    } else {
      return false;
    }
    return true;
  });
  return true;
}

bool Agent::act(const core::StopServer& a) {
  if (!start_job(core::JobKind::stop)) return false;
  auto give_up_at = host_.now() + a.limit;
  auto first = a.checkpoint_first ? rng_.between(milliseconds(5), milliseconds(200)) : Duration(0);
  bool immediate = a.mode == core::StopServer::Mode::immediate;
  later(first, [this, give_up_at, immediate] {
    auto stop = request(lease::Request::Kind::stop_server);
    stop.mode = immediate ? lease::StopMode::immediate : lease::StopMode::fast;
    stop.limit = std::max<Duration>(give_up_at - host_.now(), milliseconds(200));
    host_.ask_guardian(stop);
    poll(kLookAgain, [this] {
      if (!server_gone()) return false;
      end_job(true, "stopped");
      return true;
    });
  });
  return true;
}

bool Agent::act(const core::Promote& a) {
  bool armed = seen_.guard.armed == a.epoch && seen_.guard.deadline > host_.now();
  if (!armed && !(mutation() && mutation()->promotes_unarmed)) return false;
  if (!start_job(core::JobKind::promote)) return false;
  auto give_up_at = host_.now() + a.limit;
  host_.cluster().checker.promotes(host_.place());
  poll(kLookAgain,
       [this, epoch = a.epoch, newest = a.newest, give_up_at, again_at = host_.now()]() mutable {
         std::string wrong;
         job_harmless_ = host_.now() < give_up_at;
         if (!job_harmless_) wrong = "PostgreSQL did not end its recovery";
         if (!state_.lock || *state_.lock != epoch) wrong = "the lock was lost before promotion";
         if (seen_.guard.phase != core::ServerPhase::running) wrong = "PostgreSQL is not running";
         if (!wrong.empty() || seen_.server.is_primary()) {
           end_job(wrong.empty(), wrong.empty() ? "promoted" : wrong);
           return true;
         }
         if (host_.now() >= again_at) {
           again_at = host_.now() + kPromoteAgain;
           host_.server().reserve_timelines(newest);
           auto signal = request(lease::Request::Kind::signal_server);
           signal.signal = SIGUSR1;
           host_.ask_guardian(signal);
         }
         measure();
         return false;
       });
  return true;
}

bool Agent::act(const core::Reconfigure& a) {
  if (!start_job(core::JobKind::reconfigure)) return false;
  bool running = seen_.server.state == ServerState::running;
  bool standby = running ? seen_.server.in_recovery : !seen_.guard.as_primary;
  bool changed = write_configuration(standby, a.upstream);
  auto wanted = a.upstream ? a.upstream->address.text() : "";
  bool elsewhere = running && standby && seen_.server.upstream != wanted;
  bool again = elsewhere && host_.now() >= reloaded_at_ + kReloadAgain;
  if (changed || again || !reloaded_) {
    auto signal = request(lease::Request::Kind::signal_server);
    signal.signal = SIGHUP;
    host_.ask_guardian(signal);
    reloaded_ = true;
    reloaded_at_ = host_.now();
  }
  later(changed ? milliseconds(20) : milliseconds(1), [this] { end_job(true, "reloaded"); });
  return true;
}

bool Agent::act(const core::CreateUsers&) {
  if (!start_job(core::JobKind::create_users)) return false;
  later(milliseconds(20), [this] {
    bool ok = host_.server().running() && host_.server().actor().runs();
    end_job(ok, ok ? "created" : "the server does not answer");
  });
  return true;
}

}  // namespace pgsteady::sim
