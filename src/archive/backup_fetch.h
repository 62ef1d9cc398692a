// A base backup out of the archive into an empty directory.
#pragma once

#include <map>
#include <string>

#include "archive/backup.h"

namespace pgsteady::archive {

struct FetchOptions {
  std::string data_dir;
  std::map<std::string, std::string> tablespaces;  // old place → new place; others keep theirs
  int workers = 2;
};

// All checksums are checked, everything is on disk when this returns, and pg_control comes last: a
// directory from a fetch that did not end starts no server. refused: the directory is not empty, or
// a server runs in it; corrupt: an object is missing or damaged.
Result<void> backup_fetch(store::ObjectStore& store, const Backup& backup,
                          const FetchOptions& options);

}  // namespace pgsteady::archive
