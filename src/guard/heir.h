// What a guardian that is killed by SIGKILL leaves behind. The kernel ends the postmaster with it,
// but a backend that is busy at that moment would run its statement to the end, and acknowledge it.
// The heir is a process that sleeps until the guardian dies, and then kills every process of the
// server: those that run the same program in the same data directory, and those that such a one
// started there (COPY ... PROGRAM, archive_command), which it knows by their environment.
//
// It has no part in fencing, which the guardian does itself. It lives as long as the server does:
// the guardian kills it when nothing of the server is left, and spares it while there is.
#pragma once

#include <sys/types.h>
#include <string>

namespace pgsteady::guard {

// In the environment of the server, and so of all that it starts.
constexpr const char* kServerMark = "PGSTEADY_SERVER=1";

// The heir looks `program` and `directory` up when it starts, so that neither the caller waits for
// a disk, nor the heir later. Gives the process, a child of the caller; -1 when there can be none.
pid_t start_heir(const std::string& program, const std::string& directory);

}  // namespace pgsteady::guard
