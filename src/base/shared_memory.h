// What a PostgreSQL server that was killed leaves in the kernel: its System V segment. A machine
// has few of them (kernel.shmmni, 4096), and only the next server in the same directory takes it
// over: who removes the directory of a killed server, as tests do, removes the segment first.
#pragma once

#include <string>

namespace pgsteady {

// Removes the segment that postmaster.pid in `data_dir` names, unless a process still uses it.
void remove_shared_memory(const std::string& data_dir);

}  // namespace pgsteady
