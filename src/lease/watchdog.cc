#include "lease/watchdog.h"

#include "lease/failsafe.h"
#include "lease/mutant.h"

namespace pgsteady::lease {

int watchdog_timeout_at(Instant now, Instant deadline, Duration ttl, int usual) {
  if (MUTANT(fed_past_the_lease)) return usual;
  auto end = deadline + margin(std::min(ttl, kLongestPromise));
  auto left = end > now ? (end - now) / std::chrono::seconds(1) : 0;
  return static_cast<int>(std::min<long>(usual, left));
}

}  // namespace pgsteady::lease
