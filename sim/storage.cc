// What the disk and the archive do to a simulated server.
#include <algorithm>

#include "sim/postgres.h"

namespace pgsteady::sim {

// WAL that cannot be written ends the whole server.
void Postgres::panic() {
  around_.world.trace(around_.name, "PANIC: no space left on device");
  around_.world.reached("a server ended on a full disk");
  around_.disk.control.state = recovery_ ? "in archive recovery" : "in production";
  end_backends();
  gone_at_ = around_.world.now();
  around_.exited();
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
  disk.newest_timeline = std::max(disk.newest_timeline, around_.tree.timeline(archive.branch));
  around_.world.trace(around_.name, "restored WAL up to {} from the archive", archive.end.text());
  around_.world.reached("WAL was restored from the archive");
  if (phase_ == Phase::starting && disk.control.min_recovery <= archive.end) become_running();
}

}  // namespace pgsteady::sim
