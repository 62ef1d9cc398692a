// Who lives below the guardian, and killing them. Reads /proc only: no disk. One thread.
#pragma once

#include <sys/types.h>
#include <cstddef>
#include <vector>

namespace pgsteady::guard {

// Whether /proc shows this process; without it nobody could say whether a server is gone.
bool can_see_children();

// Direct children of this process, zombies too. Exact: each process that is one throughout the call
// is in it, and so is each that becomes one through the end of a child that is not reaped yet.
std::vector<pid_t> children_of_self();

// SIGKILL to every descendant, except the processes in `spared` and what is below them. Gives the
// number of direct children that are not spared: 0 means that nothing is left.
std::size_t kill_descendants(const std::vector<pid_t>& spared);

}  // namespace pgsteady::guard
