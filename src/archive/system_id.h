// Whose archive it is. An archive belongs to one system: "sysids/sysid" holds its identifier.
#pragma once

#include <optional>
#include <string>

#include "base/types.h"
#include "store/object_store.h"

namespace pgsteady::archive {

// Of the data directory, from pg_control's first bytes; nothing when there is none.
std::optional<SystemId> local_system_id(const std::string& data_dir);

// not_found when the archive does not say, as WAL-G's do not.
Result<SystemId> archive_system_id(store::ObjectStore& store);

// Claims an archive that belongs to nobody yet. refused when it belongs to another system.
Result<void> claim_archive(store::ObjectStore& store, SystemId system);

}  // namespace pgsteady::archive
