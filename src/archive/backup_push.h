// A base backup of a running server into the archive, in WAL-G's layout.
//
// Files go into parts of about 1 GiB, several at once; pages are checked on the way. The sentinel,
// without which there is no backup, comes last: after all WAL that the backup needs is in the
// archive.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "archive/backup.h"

namespace pgsteady::archive {

struct PushOptions {
  std::string data_dir;
  std::string conninfo;  // empty: PGHOST and its like
  bool permanent = false;
  int workers = 2;
  std::chrono::seconds wal_limit{120};  // for the backup's WAL to arrive in the archive
};

struct PushReport {
  Backup backup;
  // Pages whose checksum is wrong: "base/5/16384 block 7". The backup holds them as they are.
  std::vector<std::string> bad_pages;
};

// After an error there is no backup, and what was uploaded is removed as far as that is possible.
Result<PushReport> backup_push(store::ObjectStore& store, const Settings& settings,
                               const PushOptions& options);

}  // namespace pgsteady::archive
