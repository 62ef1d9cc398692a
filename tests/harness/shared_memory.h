// What a PostgreSQL server that was killed leaves in the kernel: its System V segment. The machine
// has 4096 of them, and the next server in the same directory alone would take it over.
#pragma once

#include <filesystem>

namespace pgsteady::testing {

// Removes the segment that postmaster.pid in `data` names, unless a process still uses it.
void remove_shared_memory(const std::filesystem::path& data);

}  // namespace pgsteady::testing
