// One file of pg_wal into the archive: what archive_command does.
#pragma once

#include <string>

#include "archive/settings.h"

namespace pgsteady::archive {

enum class Pushed { stored, was_there };

// `path` is a segment, .partial, .backup or .history file inside a pg_wal. It is in the archive,
// durably, when this returns without an error. The same content again is no error; another content
// under the same name is refused and changes nothing. So is what is no WAL of that name, or belongs
// to another system than the archive.
Result<Pushed> wal_push(store::ObjectStore& store, const Settings& settings,
                        const std::string& path);

}  // namespace pgsteady::archive
