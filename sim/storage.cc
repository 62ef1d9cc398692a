// What the disk and the archive do to a simulated server.
#include <algorithm>

#include "sim/postgres.h"

namespace pgsteady::sim {

// WAL that cannot be written ends the whole server.
void Postgres::panic() {
  if (around_.disk.unlinked) {
    around_.world.trace(around_.name, "PANIC: No such file or directory");
  } else {
    around_.world.trace(around_.name, "PANIC: no space left on device");
    around_.world.reached("a server ended on a full disk");
  }
  around_.disk.control.state = recovery_ ? "in archive recovery" : "in production";
  end_backends();
  gone_at_ = around_.world.now();
  around_.exited();
}

// Connections that stand go on, walsenders among them, and what they flush is on no disk.
void Postgres::unlink_directory() {
  around_.disk.unlinked = true;
  sessions_fail_ = rng_.one_in(2);
  if (!actor_.alive()) return let_go_of_files();
  around_.world.trace(around_.name, "the data directory is removed");
  look_at_lock_file();
}

// The postmaster looks for postmaster.pid once a minute, and ends everything when it is not there.
void Postgres::look_at_lock_file() {
  around_.world.after(rng_.between(seconds(1), seconds(60)), &actor_, [this] { stop_immediate(); });
}

void Postgres::let_go_of_files() {
  if (around_.disk.unlinked) around_.vanished();
}

// restore_command is asked before the upstream is. Whose WAL it gives, the archive does not know:
// it need not be what the present leader went on from.
void Postgres::restore_from_archive() {
  auto& disk = around_.disk;
  const auto& archive = around_.archive;
  if (archive.branch < 0 || archive == disk.wal || disk.hangs > 0 || disk.full > 0) return;
  if (!around_.tree.contains(archive, disk.wal)) return;
  // It follows the newest history that it has, and reads an older timeline up to its switch only.
  if (around_.tree.timeline(archive.branch) < disk.newest_timeline) return;
  disk.wal = archive;
  forget_unwritten();
  replay_all();
  disk.newest_timeline = std::max(disk.newest_timeline, around_.tree.timeline(archive.branch));
  around_.world.trace(around_.name, "restored WAL up to {} from the archive", archive.end.text());
  around_.world.reached("WAL was restored from the archive");
  if (phase_ == Phase::starting && disk.control.min_recovery <= archive.end) become_running();
}

}  // namespace pgsteady::sim
