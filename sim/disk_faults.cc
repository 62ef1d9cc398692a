// What happens to a node's disk: it hangs, fills, is lost in whole or in part, is set back, or
// keeps half of a file.
#include <algorithm>

#include "sim/faults.h"

namespace pgsteady::sim {
namespace {

// The agent writes its epoch and its failsafe task without waiting for the disk: after a power loss
// any beginning of the text may be what is left. Markers are written beside and renamed; of them
// nothing is lost.
void tear_files(Disk& disk, Rng& rng) {
  disk.failsafe_task.reset();
  if (!disk.epoch) return;
  auto digits = rng.between(std::int64_t{0}, std::int64_t{4});
  for (; digits > 0; --digits) disk.epoch->mod_revision /= 10;
  if (disk.epoch->mod_revision == 0) disk.epoch.reset();
}

}  // namespace

std::vector<Verb> verbs_of_disks() {
  return {
      {"hang_disk", Target::disk, 3, false, 200, 30000},
      {"fill_disk", Target::disk, 2, false, 1000, 40000},
      {"lose_disk", Target::disk, 1, false, 1000, 30000},
      {"lose_data", Target::disk, 1, false, 1000, 30000},
      {"unlink_data", Target::disk, 1, false, 0, 0},
      {"tear_files", Target::disk, 2, false, 500, 20000},
      {"starve", Target::disk, 1, true, 0, 0},
      {"forget_epoch", Target::disk, 1, true, 0, 0},
      {"snapshot", Target::disk, 0, true, 0, 0},
      {"restore", Target::disk, 0, false, 0, 0},
      {"foreign_disk", Target::disk, 0, false, 1000, 60000},
      {"archive", Target::disk, 0, true, 0, 0},
  };
}

Operator::Undo Operator::begin_on_disk(const Step& step, Host& host) {
  const auto& verb = step.verb;
  if (verb == "hang_disk") {
    host.hang_disk(true);
    return [&host] { host.hang_disk(false); };
  }
  if (verb == "fill_disk") {
    ++host.disk().full;
    return [&host] { --host.disk().full; };
  }
  if (verb == "forget_epoch") {
    host.disk().epoch.reset();
    return nullptr;
  }
  if (verb == "snapshot") {
    snapshots_.push_back({host.place(), host.disk()});
    return nullptr;
  }
  if (verb == "archive") {
    cluster_.archive = host.disk().wal;
    return nullptr;
  }
  // The last copy is not taken: nobody could bring it back.
  bool spared = cluster_.can_spare(host.place());
  bool listed = cluster_.lists_another(host.place());
  if (verb == "starve") {  // of a standby, as if its recovery had begun too early in the WAL
    host.disk().starved = spared && host.disk().standby_signal;
    if (host.disk().starved) host.server().kill_postmaster();
    return nullptr;
  }
  if (verb == "unlink_data") {
    if (spared && host.disk().data == DataDirectory::valid) host.server().unlink_directory();
    return nullptr;
  }
  host.power_off();
  if (verb == "lose_disk" && spared) host.wipe();
  if (verb == "lose_data" && spared) host.lose_data();
  if (verb == "tear_files") tear_files(host.disk(), cluster_.world.rng());
  if (verb == "restore" && listed) {
    for (const auto& snapshot : snapshots_) {
      if (snapshot.place != host.place()) continue;
      cluster_.checker.wiped(host.place());
      auto failing = host.disk();
      host.disk() = snapshot.disk;
      host.disk().hangs = failing.hangs;
      host.disk().full = failing.full;
    }
  }
  if (verb == "foreign_disk") {
    host.take_foreign_disk();
    host.power_on();
    return [&host] {
      host.power_off();
      host.wipe();
      host.power_on();
    };
  }
  return [&host] { host.power_on(); };
}

}  // namespace pgsteady::sim
