#include "guard/memory.h"

#include <sys/mman.h>
#include <cerrno>

namespace pgsteady::guard {
namespace {

bool locked = false;

}  // namespace

bool lock_memory() {
  locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
  if (locked) return true;
  int error = errno;
  munlockall();
  errno = error;
  return false;
}

void lock_memory_again() {
  if (locked) mlockall(MCL_CURRENT | MCL_FUTURE);
}

}  // namespace pgsteady::guard
