// This process, and running a short helper program (pg_controldata, initdb's version) with a
// deadline.
// Uses posix_spawn, which is safe beside gRPC's threads; long jobs belong to the guardian.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"

namespace pgsteady {

struct ProcessOutput {
  int exit_code = 0;   // 128 + signal when it was killed
  std::string output;  // stdout and stderr together, at most 1 MiB
};

// Blocks the caller. argv[0] is looked up in PATH when it has no slash. `environment` entries
// ("LC_ALL=C") are put over the caller's. Killed with SIGKILL at the deadline (ErrorKind::retry).
Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  const std::vector<std::string>& environment,
                                  std::chrono::milliseconds limit);

// From now on only root may read this process's memory and environment, which hold passwords; it
// leaves no core file either. Programs it starts are not affected.
void keep_memory_private();

// environ as a list, "KEY=value".
std::vector<std::string> process_environment();

}  // namespace pgsteady
