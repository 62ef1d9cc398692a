#include "dcs/steady_waits.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <ctime>

namespace {

constexpr long kSecond = 1'000'000'000;

using Syscall = long (*)(long, long, long, long, long, long, long);

// No static with a guard: libstdc++ waits for those through the very function that is replaced
// here.
Syscall libc_syscall() {
  static std::atomic<Syscall> found{nullptr};
  if (found.load() == nullptr) found = reinterpret_cast<Syscall>(dlsym(RTLD_NEXT, "syscall"));
  return found;
}

// A system call's arguments are numbers, whatever they stand for.
const timespec& time_at(long argument) {
  return *reinterpret_cast<const timespec*>(argument);  // NOLINT(performance-no-int-to-ptr)
}

bool is_time(const timespec& time) {
  return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < kSecond;
}

// Callers pass the operation as an int: nothing is said of a long's upper half.
bool waits_for_wall_clock(long number, int operation, long timeout) {
  return number == SYS_futex && timeout != 0 && (operation & FUTEX_CLOCK_REALTIME) != 0 &&
         (operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && is_time(time_at(timeout));
}

// The same distance from now; of a time that has passed, one that has passed.
timespec by_steady_clock(const timespec& wall) {
  timespec wall_now{}, now{};
  clock_gettime(CLOCK_REALTIME, &wall_now);
  clock_gettime(CLOCK_MONOTONIC, &now);
  now.tv_sec += wall.tv_sec - wall_now.tv_sec;
  now.tv_nsec += wall.tv_nsec - wall_now.tv_nsec;
  if (now.tv_nsec < 0) {
    now.tv_nsec += kSecond;
    --now.tv_sec;
  } else if (now.tv_nsec >= kSecond) {
    now.tv_nsec -= kSecond;
    ++now.tv_sec;
  }
  return now.tv_sec < 0 ? timespec{} : now;
}

}  // namespace

// Whoever in this program calls libc's function by its name comes here, abseil among them; libc
// itself goes to the kernel directly.
extern "C" long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  const int operation = static_cast<int>(a[1]);
  if (!waits_for_wall_clock(number, operation, a[3])) {
    return libc_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  }
  const auto until = by_steady_clock(time_at(a[3]));
  return libc_syscall()(number, a[0], operation & ~FUTEX_CLOCK_REALTIME, a[2],
                        reinterpret_cast<long>(&until), a[4], a[5]);
}

namespace pgsteady::dcs {

bool waits_are_steady() {
  return dlsym(RTLD_DEFAULT, "syscall") == reinterpret_cast<void*>(&::syscall);
}

}  // namespace pgsteady::dcs
