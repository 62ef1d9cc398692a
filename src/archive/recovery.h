// Restoring to a point in time: which backup to take, and what to tell the server.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "archive/backup.h"
#include "cluster/view.h"

namespace pgsteady::archive {

struct RecoveryTarget {
  std::string time;                // as of recovery_target_time, with its zone; empty: everything
  std::string action = "promote";  // pause, promote or shutdown
};

// The newest backup that ended before `target` (nothing: the newest) on the way that leads to the
// timeline whose history is given, oldest first, and whose own number is `timeline`. Pure.
// refused when there is none: PostgreSQL itself would restore too much and say nothing.
Result<Backup> choose_backup(const std::vector<Backup>& backups, std::optional<WallTime> target,
                             Timeline timeline, const std::vector<TimelineSwitch>& history);

// Accepts "2026-11-22 14:03:00[.5][+00[:00]|Z]" and a T between date and time. refused without a
// zone: the operator's, the server's and the archive's may differ.
Result<WallTime> parse_target_time(const std::string& text);

// For what the archive holds now.
Result<Backup> choose_backup(store::ObjectStore& store, const RecoveryTarget& target);

// Settings and recovery.signal into a fetched data directory.
Result<void> prepare_recovery(const std::string& data_dir, const std::string& restore_command,
                              const RecoveryTarget& target);

}  // namespace pgsteady::archive
