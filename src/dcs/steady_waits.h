// Waits for a time of the wall clock, made by the steady clock instead.
#pragma once

namespace pgsteady::dcs {

// gRPC as Debian builds it sleeps through abseil, which waits for a point of the wall clock
// (FUTEX_CLOCK_REALTIME). A clock that is set back by an hour would hold every deadline and every
// reconnection up for that hour, renewals of the lease among them. A program that this is linked
// into has its own syscall() between abseil and the kernel, which turns such a wait into one for as
// long by CLOCK_MONOTONIC. False when something else stands there; any thread.
bool waits_are_steady();

}  // namespace pgsteady::dcs
