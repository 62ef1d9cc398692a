// Finding out: etcd, the local server, the peers. As src/agent/observe.cc.
#include <algorithm>
#include <utility>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kReadLimit = milliseconds(1000);
constexpr Duration kReadAgain = milliseconds(1000);
constexpr Duration kQuietInterval = milliseconds(1900);
constexpr Duration kMeasureTakes = microseconds(1500);
constexpr Duration kMeasureLimit = milliseconds(2000);
constexpr Duration kPeerLimit = milliseconds(300);
constexpr Duration kStartingPause = milliseconds(20);
constexpr Duration kLongestWatchPause = milliseconds(1000);
constexpr Duration kWatchStuckAfter = milliseconds(1000);

}  // namespace

void Agent::tick() {
  bool quiet = seen_.dcs.reachable && host_.now() < *seen_.dcs.read_at + kQuietInterval;
  if (!quiet) read_dcs();
  measure();
  host_.after(seen_.dcs.cluster.settings().loop_wait, host_.agent_actor(), [this] { tick(); });
}

void Agent::read_dcs() {
  if (reading_) {
    read_again_ = true;
    return;
  }
  reading_ = true;
  EtcdRequest request;
  request.kind = EtcdRequest::Kind::read;
  dcs_.call(request, true, kReadLimit, [this](const EtcdClient::Answer& a) { dcs_read(a); });
}

void Agent::dcs_read(const EtcdClient::Answer& answer) {
  reading_ = false;
  seen_.dcs.asked = true;
  seen_.dcs.reachable = answer.reply.ok;
  if (answer.reply.ok) {
    seen_.dcs.read_at = answer.sent;
    seen_.dcs.term = answer.reply.term;
    const auto& view = *answer.reply.view;
    if (view.revision != seen_.dcs.cluster.revision) {
      auto before = std::exchange(seen_.dcs.cluster, view);
      keep_config(seen_.dcs.cluster, before);
    }
    // A watch that stays behind what a read found is stuck.
    if (watch_member_ >= 0 && view.revision > watch_revision_) {
      host_.after(kWatchStuckAfter, host_.agent_actor(),
                  [this, revision = view.revision, member = watch_member_] {
                    if (watch_member_ == member && watch_revision_ < revision) lose_watch();
                  });
    }
  }
  if (!answer.reply.ok) read_again_soon();
  wake();
  if (std::exchange(read_again_, false)) read_dcs();
}

void Agent::read_again_soon() {
  auto pause = std::min<Duration>(kReadAgain, seen_.dcs.cluster.settings().loop_wait);
  host_.after(pause, host_.agent_actor(), [this, attempt = ++retries_] {
    if (attempt == retries_ && !seen_.dcs.reachable) read_dcs();
  });
}

void Agent::open_watch() {
  watch_waiting_ = false;
  watch_member_ = dcs_.session.current;
  dcs_.on_failed = [this](int member) {
    if (member == watch_member_) lose_watch();
  };
  auto& etcd = host_.cluster().etcd;
  auto changed = [this](std::int64_t revision) {
    watch_revision_ = std::max(watch_revision_, revision);
    watch_pause_ = milliseconds(50);
    read_dcs();
  };
  etcd.watch(host_.place(), &host_.agent_actor(), watch_member_, changed, [this] { lose_watch(); });
  watch_revision_ = etcd.revision();
  read_dcs();
}

void Agent::lose_watch() {
  watch_member_ = -1;
  host_.cluster().etcd.unwatch(host_.place());
  read_dcs();
  if (watch_waiting_) return;
  watch_waiting_ = true;
  host_.after(watch_pause_, host_.agent_actor(), [this] { open_watch(); });
  watch_pause_ = std::min(watch_pause_ * 2, kLongestWatchPause);
}

void Agent::measure() {
  if (measuring_) {
    measure_again_ = true;
    return;
  }
  measuring_ = true;
  auto began = host_.now();
  bool alive = seen_.guard.phase == core::ServerPhase::running ||
               seen_.guard.phase == core::ServerPhase::stopping;
  auto& server = host_.server();
  bool hangs = alive ? server.postmaster_alive() && !server.actor().runs() : host_.disk().hangs > 0;
  host_.after(hangs ? kMeasureLimit : kMeasureTakes, host_.agent_actor(),
              [this, began, alive] { measured(began, alive); });
}

void Agent::measured(lease::Instant began, bool alive) {
  measuring_ = false;
  bool outdated = alive && seen_.guard.phase == core::ServerPhase::none;
  if (!outdated) {
    const auto& disk = host_.disk();
    LocalServer found;
    found.measured_at = began.time_since_epoch();
    // Files on a disk that hangs cannot be looked at.
    found.data = !alive && disk.hangs > 0 ? DataDirectory::unknown
                 : disk.unlinked          ? DataDirectory::empty
                                          : disk.data;
    found.standby_signal = disk.standby_signal;
    if (alive) {
      found.state = ServerState::starting;
      if (host_.server().postmaster_alive()) host_.server().measure(found);
      bool whole = disk.data == DataDirectory::valid && disk.wal.branch >= 0;
      if (found.state == ServerState::starting && disk.standby_signal && whole) {
        found.control = disk.control;
        found.history = host_.cluster().tree.history(disk.wal.branch);
        found.recovering = std::to_string(disk.wal.end.value >> 24);
      }
      if (disk.starved) {
        found.refusal = "FATAL:  could not start WAL streaming: ERROR:  not here";
        found.refused_at = static_cast<std::uint64_t>(began.time_since_epoch().count());
      }
    } else if (disk.data == DataDirectory::valid && disk.hangs == 0) {
      if (disk.full > 0) found.complaint = "PANIC:  could not write: No space left on device";
      found.control = disk.control;
      found.history = host_.cluster().tree.history(disk.wal.branch);
    }
    seen_.server = std::move(found);
    seen_.interrupted_job = disk.marker;
    wake();
  }
  if (std::exchange(measure_again_, false) || outdated) {
    measure();
  } else if (alive && seen_.server.state == ServerState::starting && !look_due_) {
    look_due_ = true;
    host_.after(kStartingPause, host_.agent_actor(), [this] {
      look_due_ = false;
      measure();
    });
  }
}

void Agent::ask_peers(const std::vector<MemberName>& members) {
  auto round = ++round_;
  asking_ = {};
  asking_.asked_at = host_.now();
  peers_left_ = 0;
  auto& cluster = host_.cluster();
  for (const auto& name : members) {
    auto there = cluster.place_of(name);
    if (there < 0) continue;
    ++peers_left_;
    auto* peer = &cluster.host(there);
    // Another thread of the peer answers, from what its loop last decided.
    auto take = [this, round,
                 taken = std::make_shared<bool>(false)](const core::PeerFigure& figure) {
      if (round != round_ || !seen_.peers_asked || std::exchange(*taken, true)) return;
      asking_.peers.push_back(figure);
      if (--peers_left_ == 0) peers_answered(round);
    };
    auto* self = &host_;
    auto life = self->agent_actor().life();
    cluster.network.send(self->place(), there, &peer->threads_actor(), false, [=] {
      if (self->agent_actor().life() != life) return;  // it has ended meanwhile, and `take` with it
      auto figure = peer->agent()->figure();
      peer->cluster().network.send(there, self->place(), &self->agent_actor(), false,
                                   [take, figure] { take(figure); });
    });
  }
  if (peers_left_ == 0) return peers_answered(round);
  host_.after(kPeerLimit, host_.agent_actor(), [this, round] { peers_answered(round); });
}

void Agent::peers_answered(std::uint64_t round) {
  if (round != round_ || !seen_.peers_asked) return;
  seen_.peers = asking_;
  seen_.peers_asked = false;
  wake();
}

}  // namespace pgsteady::sim
