// How WAL becomes safe on a simulated server: written, that is in the kernel's hands, where it
// outlives the server's processes; flushed, where it outlives the machine; on a standby then
// replayed, where a session sees it.
#include <algorithm>
#include <utility>

#include "sim/postgres.h"

namespace pgsteady::sim {

void Postgres::write(std::uint64_t bytes) {
  written_.end.value += bytes;
}

// What is flushed at once: no commit, or nobody waits for it.
void Postgres::append(std::uint64_t bytes) {
  write(bytes);
  around_.disk.wal = written_;
  flushed_commits();
  ship();
}

// Mostly a flush is over before anything else happens; some take their time, and those who come
// meanwhile share it.
void Postgres::flush_soon() {
  if (flushing_) return;
  if (!rng_.one_in(4) && around_.disk.hangs == 0) return flush();
  flushing_ = true;
  auto longest = rng_.one_in(8) ? milliseconds(300) : milliseconds(5);
  around_.world.after(rng_.between(microseconds(100), longest), &actor_, [this] {
    flushing_ = false;
    flush();
  });
}

void Postgres::flush() {
  auto& disk = around_.disk;
  if (disk.hangs > 0) {
    flushing_ = true;
    return around_.world.after(milliseconds(100), &actor_, [this] {
      flushing_ = false;
      flush();
    });
  }
  if (written_ == disk.wal && unsafe_.empty() && !recovery_) return;
  if (disk.full > 0) return panic();
  if (!around_.tree.contains(written_, disk.wal)) return;
  keep_written();
  if (!recovery_) {
    flushed_commits();
    return ship();
  }
  if (phase_ == Phase::starting && disk.control.min_recovery <= disk.wal.end) become_running();
  flushed_received();
}

// Sessions whose commit is safe here answer their clients, or wait for standbys.
void Postgres::flushed_commits() {
  for (const auto& commit : std::exchange(unsafe_, {})) {
    if (shared_rule_.defined()) {
      waiting_.push_back(commit);
    } else if (could_acknowledge()) {
      around_.acknowledged(commit, 0);
    }
  }
}

// What is written becomes safe, unless the disk hangs.
void Postgres::keep_written() {
  auto& disk = around_.disk;
  bool more = written_.branch >= 0 && disk.wal.branch >= 0 && !(written_ == disk.wal) &&
              around_.tree.contains(written_, disk.wal);
  if (!more || disk.hangs > 0 || disk.full > 0) return;
  disk.wal = written_;
  if (!recovery_) return;
  disk.newest_timeline = std::max(disk.newest_timeline, around_.tree.timeline(disk.wal.branch));
  advance_replay();
}

// The kernel still writes what a server handed over that was killed meanwhile.
void Postgres::disk_answers() {
  auto& disk = around_.disk;
  auto written = std::exchange(disk.written, {});
  bool more = written.branch >= 0 && disk.wal.branch >= 0 && !actor_.alive() &&
              around_.tree.contains(written, disk.wal);
  if (more) disk.wal = written;
}

// What was not flushed is lost: of a machine that lost its power, or of another directory.
void Postgres::forget_unwritten() {
  written_ = around_.disk.wal;
  unsafe_.clear();
  flushing_ = false;
}

// --- replay ------------------------------------------------------------------------------------

void Postgres::advance_replay() {
  replayed_before_ = replayed();
  replayed_ = around_.disk.wal.end;
  auto longest = rng_.one_in(16) ? milliseconds(500) : milliseconds(4);
  replayed_at_ = around_.world.now() + rng_.between(microseconds(50), longest);
}

void Postgres::replay_all() {
  replayed_before_ = replayed_ = around_.disk.wal.end;
  replayed_at_ = around_.world.now();
}

Lsn Postgres::replayed() const {
  bool done = around_.world.now() >= replayed_at_ && replay_holds_ == 0;
  return done ? replayed_ : replayed_before_;
}

void Postgres::hold_replay(bool hold) {
  if (hold) replayed_before_ = replayed();
  replay_holds_ += hold ? 1 : -1;
}

}  // namespace pgsteady::sim
