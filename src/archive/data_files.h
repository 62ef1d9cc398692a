// The files of a data directory that belong into a backup.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "archive/backup.h"

namespace pgsteady::archive {

struct DataFile {
  std::string path;  // inside the data directory: "base/1/1259"
  bool directory = false;
};

// Calls `each` with every directory and file that WAL-G would take, directories before what they
// hold, and fills in the tablespaces on the way. Files may come and go meanwhile.
Result<void> walk_data_directory(const std::string& data_dir, std::vector<Tablespace>& tablespaces,
                                 const std::function<Result<void>(DataFile)>& each);

}  // namespace pgsteady::archive
