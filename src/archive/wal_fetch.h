// One file from the archive into pg_wal: what restore_command does.
#pragma once

#include <string>

#include "archive/settings.h"

namespace pgsteady::archive {

// Writes the file of that name to `path`, whole, checked and fsynced, or not at all. `data_dir` is
// the server's, whose system the file must belong to; empty when there is none. not_found: the
// archive was asked and has no such file.
Result<void> wal_fetch(store::ObjectStore& store, const std::string& name, const std::string& path,
                       const std::string& data_dir);

// Who asks for WAL, as the data directory's signal files tell.
enum class Asker { recovery, standby, other };
Asker asker_of(const std::string& data_dir);

// What the process must answer PostgreSQL. 1 means "not in the archive": recovery ends there, and a
// standby goes on by streaming. More than 125 stops the server, which is right only when recovery
// would else end too early.
int fetch_exit_code(const Result<void>& fetched, Asker asker);

}  // namespace pgsteady::archive
