// The guardian's pages stay in memory, so that fencing waits for none of them.
#pragma once

namespace pgsteady::guard {

// Locks what there is and what comes; false with errno, and nothing locked, where that is refused.
bool lock_memory();
// After a fork whose child goes on in this program: the two share their pages until one writes, and
// the copy that is made then needs memory. This makes our copies now. Nothing if none is locked.
void lock_memory_again();

}  // namespace pgsteady::guard
