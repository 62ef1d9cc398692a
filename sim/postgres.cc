#include "sim/postgres.h"

#include <algorithm>
#include <utility>

namespace pgsteady::sim {
namespace {

constexpr std::uint64_t kCheckpointRecord = 120;
constexpr Duration kLookAgain = milliseconds(20);
constexpr std::size_t kSessions = 8;  // that can wait at a time

}  // namespace

Postgres::Postgres(Surroundings around)
    : around_(std::move(around)),
      rng_(around_.world.rng().fork()),
      next_connection_(1 + (std::uint64_t(around_.place) << 32)) {}

bool Postgres::can_acknowledge() const {
  if (!actor_.runs() || !backends_ || recovery_ || around_.disk.hangs > 0) return false;
  return phase_ == Phase::running;
}

bool Postgres::serves_replication() const {
  return actor_.runs() && postmaster_ && (phase_ == Phase::running || phase_ == Phase::stopping);
}

// --- starting ----------------------------------------------------------------------------------

void Postgres::start() {
  if (around_.world.now() < gone_at_) {
    around_.world.violation(around_.name + " is started beside processes of the server before it");
  }
  actor_.begin();
  phase_ = Phase::starting;
  began_at_ = around_.world.now();
  postmaster_ = true;
  backends_ = promoting_ = consistent_ = was_running_ = false;
  receiver_ = {};
  senders_.clear();
  forget_unwritten();
  ++starts_;
  reserved_ = 0;
  auto& disk = around_.disk;
  recovery_ = disk.standby_signal;
  upstream_ = disk.upstream;
  bool clean = disk.control.cleanly_shut_down();
  auto takes = rng_.between(milliseconds(60), clean ? milliseconds(150) : milliseconds(600));
  around_.world.after(takes + troubles_.recovery, &actor_, [this] { started(); });
}

// Its recovery of local WAL has ended.
void Postgres::started() {
  auto& disk = around_.disk;
  if (disk.hangs > 0) return around_.world.after(milliseconds(200), &actor_, [this] { started(); });
  if (disk.data != DataDirectory::valid || troubles_.breaks_start || disk.full > 0) {
    around_.world.trace(around_.name, "PostgreSQL does not start");
    return ended();
  }
  if (disk.torn) {
    around_.world.violation(around_.name + " started from a directory that is not whole");
    return;
  }
  if (!recovery_ && disk.inconsistent) {
    around_.world.violation(around_.name + " started a rewound directory as a primary");
    return;
  }
  disk.control.state = recovery_ ? "in archive recovery" : "in production";
  if (!recovery_) disk.control.timeline = around_.tree.timeline(disk.wal.branch);
  begin_synchronous();
  replay_all();
  if (recovery_) restore_from_archive();
  if (recovery_) receive_from(upstream_);
  if (!disk.inconsistent && !disk.starved) become_running();
}

// PostgreSQL looks at the position alone.
void Postgres::become_running() {
  bool corrupt =
      around_.disk.inconsistent && !around_.tree.contains(around_.disk.wal, around_.disk.pages_of);
  if (corrupt) {
    around_.world.violation(around_.name + " has pages of WAL that it has not replayed");
  }
  phase_ = Phase::running;
  replay_all();
  consistent_ = was_running_ = true;
  backends_ = true;
  around_.disk.inconsistent = around_.disk.control.within_backup = false;
  const auto& wal = around_.disk.wal;
  around_.world.trace(around_.name, "PostgreSQL runs as a {} at {} on timeline {}",
                      recovery_ ? "standby" : "primary", wal.end.text(),
                      around_.tree.timeline(wal.branch));
  around_.changed();
}

// --- stopping ----------------------------------------------------------------------------------

void Postgres::stop_fast() {
  if (!postmaster_ || phase_ == Phase::none || phase_ == Phase::stopping) return;
  bool checkpoint = phase_ == Phase::running;
  if (!checkpoint && recovery_) around_.disk.control.state = "shut down in recovery";
  phase_ = Phase::stopping;
  backends_ = false;
  waiting_.clear();  // their clients are cut off without an answer
  unsafe_.clear();
  drop_receiver();
  around_.changed();
  auto takes = rng_.between(milliseconds(10), milliseconds(120)) + troubles_.shutdown;
  around_.world.after(takes, &actor_,
                      [this, checkpoint] { checkpoint ? shutdown_checkpoint() : ended(); });
}

void Postgres::shutdown_checkpoint() {
  auto& disk = around_.disk;
  if (disk.hangs > 0) {
    return around_.world.after(milliseconds(100), &actor_, [this] { shutdown_checkpoint(); });
  }
  if (disk.unlinked) return panic();
  keep_written();
  disk.control.timeline = around_.tree.timeline(disk.wal.branch);
  if (recovery_) {
    disk.control.state = "shut down in recovery";
    disk.control.min_recovery = disk.wal.end;
    disk.control.min_recovery_timeline = disk.control.timeline;
    return ended();
  }
  disk.control.checkpoint = disk.wal.end;
  disk.control.min_recovery = Lsn{};
  disk.control.min_recovery_timeline = 0;
  disk.control.state = "shut down";
  append(kCheckpointRecord);
  finish_stop();
}

// Walsenders end when their standbys have flushed everything.
void Postgres::finish_stop() {
  bool waits = std::any_of(senders_.begin(), senders_.end(), [this](const Sender& sender) {
    return sender.flushed < around_.disk.wal.end;
  });
  if (!waits) return ended();
  around_.world.after(kLookAgain, &actor_, [this] { finish_stop(); });
}

void Postgres::stop_immediate() {
  if (!postmaster_ || phase_ == Phase::none) return;
  phase_ = Phase::stopping;
  backends_ = false;
  waiting_.clear();
  unsafe_.clear();
  around_.changed();
  around_.world.after(milliseconds(15), &actor_, [this] { ended(); });
}

// The postmaster has ended by itself, and all its children before it.
void Postgres::ended() {
  keep_written();
  drop_senders();
  drop_receiver();
  actor_.end();
  phase_ = Phase::none;
  postmaster_ = backends_ = false;
  gone_at_ = around_.world.now();
  around_.world.trace(around_.name, "PostgreSQL ended at {}: {}", around_.disk.wal.end.text(),
                      around_.disk.control.state);
  let_go_of_files();
  around_.changed();
  around_.exited();
}

std::size_t Postgres::kill() {
  auto& world = around_.world;
  bool any = postmaster_ || actor_.alive();
  if (any) {
    bool told = postmaster_;
    end_backends();
    auto takes = rng_.between(milliseconds(1), milliseconds(30)) + troubles_.reaping;
    gone_at_ = world.now() + takes;
    auto report = [this, start = starts_] {
      if (start == starts_) around_.exited();
    };
    if (told) world.at(gone_at_, nullptr, report);
  }
  bool stuck = around_.disk.hangs > 0 && was_running_;  // in the middle of a write
  if (stuck) world.reached("what was killed hung in a write");
  return world.now() < gone_at_ || stuck ? 1 : 0;
}

void Postgres::end_backends() {
  keep_written();
  if (around_.disk.hangs > 0) around_.disk.written = written_;
  note_recovery();
  bool stuck = around_.disk.hangs > 0 && was_running_ && rng_.one_in(2);
  if (stuck && !senders_.empty()) {
    around_.world.reached("a walsender outlived its server on a disk that hung");
  } else {
    drop_senders();
  }
  drop_receiver();  // the kernel closes its connections
  waiting_.clear();
  actor_.end();
  phase_ = Phase::none;
  postmaster_ = backends_ = false;
  receiver_ = {};
  let_go_of_files();
  around_.changed();
}

// Backends that are busy go on; each notices when it next waits.
void Postgres::kill_postmaster() {
  if (!postmaster_ || phase_ == Phase::none) return;
  around_.world.trace(around_.name, "the postmaster is killed alone");
  if (phase_ != Phase::running) {
    end_backends();
  } else {
    postmaster_ = false;
    waiting_.clear();  // who waits notices
    around_.world.after(rng_.between(milliseconds(1), milliseconds(2000)), &actor_,
                        [this] { end_backends(); });
  }
  around_.exited();
}

// A standby notes now and then what it has to replay before it is consistent again.
void Postgres::note_recovery() {
  auto& disk = around_.disk;
  if (!recovery_ || phase_ != Phase::running || disk.wal.end.value % 2 == 0) return;
  disk.control.min_recovery = disk.wal.end;
  disk.control.min_recovery_timeline = around_.tree.timeline(disk.wal.branch);
}

void Postgres::power_off() {
  forget_unwritten();
  around_.disk.written = {};
  note_recovery();
  ++starts_;
  actor_.end();
  phase_ = Phase::none;
  postmaster_ = backends_ = false;
  receiver_ = {};
  waiting_.clear();
  senders_.clear();  // nobody is told
  gone_at_ = around_.world.now();
  let_go_of_files();
  around_.changed();
}

// --- working -----------------------------------------------------------------------------------

void Postgres::bulk_load(std::uint64_t bytes) {
  if (can_acknowledge()) append(bytes);
}

void Postgres::commit() {
  if (around_.disk.full > 0) return panic();
  if (around_.disk.unlinked && sessions_fail_) return;
  bool waits = shared_rule_.defined();
  if (waits && waiting_.size() + unsafe_.size() >= kSessions) return;
  write(static_cast<std::uint64_t>(rng_.between(60, 900)));
  unsafe_.push_back(written_);
  flush_soon();
}

bool Postgres::checkpoint() {
  auto& disk = around_.disk;
  if (phase_ != Phase::running || recovery_ || disk.hangs > 0) return false;
  if (disk.unlinked) return panic(), false;
  disk.control.timeline = around_.tree.timeline(disk.wal.branch);
  disk.control.checkpoint = disk.wal.end;
  disk.control.min_recovery = Lsn{};
  disk.control.min_recovery_timeline = 0;
  append(kCheckpointRecord);
  auto busy = rng_.one_in(8) ? milliseconds(3000) : milliseconds(200);
  checkpointer_busy_ = around_.world.now() + rng_.between(Duration(0), busy);
  return true;
}

void Postgres::promote_signal() {
  if (phase_ != Phase::running || !recovery_ || promoting_) return;
  if (rng_.one_in(8)) {
    around_.world.reached("a promotion was overheard");
    return;
  }
  begin_promotion();
}

void Postgres::begin_promotion() {
  promoting_ = true;
  drop_receiver();
  auto takes = rng_.between(milliseconds(10), milliseconds(120)) + troubles_.promotion;
  around_.world.after(takes, &actor_, [this] { promoted(); });
}

// What was received is flushed and replayed before.
void Postgres::promoted() {
  auto& disk = around_.disk;
  keep_written();
  if (disk.hangs > 0 || replays_still()) {
    if (replays_still()) around_.world.reached("a promotion waited for the replay");
    return around_.world.after(milliseconds(20), &actor_, [this] { promoted(); });
  }
  if (disk.unlinked) return panic();
  auto newest = std::max(disk.newest_timeline, around_.tree.timeline(disk.wal.branch));
  if (reserved_ > newest) around_.world.reached("a timeline was passed over");
  auto timeline = std::max(newest, reserved_) + 1;
  disk.wal = around_.tree.fork(disk.wal, timeline);
  forget_unwritten();
  disk.newest_timeline = timeline;
  disk.standby_signal = false;
  disk.upstream.reset();
  upstream_.reset();
  disk.control.state = "in production";
  recovery_ = promoting_ = false;
  around_.world.trace(around_.name, "PostgreSQL is promoted to timeline {} at {}", timeline,
                      disk.wal.end.text());
  append(kCheckpointRecord);
  drop_senders();  // its own standbys have to follow to the new timeline
  around_.world.after(seconds(4) + troubles_.shutdown, &actor_, [this] { checkpoint(); });
  around_.changed();
}

void Postgres::measure(LocalServer& out) const {
  const auto& disk = around_.disk;
  out.state = phase_ == Phase::starting ? ServerState::starting : ServerState::running;
  if (phase_ != Phase::starting && (!actor_.runs() || (disk.hangs > 0 && !recovery_))) {
    // Reads of what is in memory still work when the disk hangs; a stopped process answers nothing.
    if (!actor_.runs()) out.state = ServerState::hung;
  }
  if (phase_ == Phase::stopping) out.state = ServerState::starting;
  if (out.state != ServerState::running) return;
  out.in_recovery = recovery_;
  out.timeline = around_.tree.timeline(disk.wal.branch);
  out.history = around_.tree.history(disk.wal.branch);
  out.system_id = around_.tree.system(disk.wal.branch);
  out.control = disk.control;
  out.version = 150018;
  if (recovery_) {
    out.receive_lsn = receiver_.any ? disk.wal.end : Lsn{};
    out.replay_lsn = replayed();
    out.receiver_state = receiver_.streaming ? "streaming" : "";
    out.replaying = !receiver_.streaming && replays_still();
  } else {
    out.flush_lsn = disk.wal.end;
    out.write_lsn = out.insert_lsn = written_.end;
    if (unflushed_ && disk.hangs > 0) out.insert_lsn.value += 100;
  }
  if (upstream_) out.upstream = "10.0.0." + std::to_string(*upstream_ + 1) + ":5432";
  for (const auto& sender : senders_) {
    ReplicationRow row;
    row.user = "replicator";
    row.application_name = around_.name_of(sender.to);
    row.state = "streaming";
    row.sync_state = sync_state(sender);
    row.flush_lsn = sender.flushed;
    out.replication.push_back(row);
  }
  if (recovery_) return;
  out.sync_names = session_rule_.text;
  out.checkpointer_waits = around_.world.now() >= checkpointer_busy_;
}

}  // namespace pgsteady::sim
