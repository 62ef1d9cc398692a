// What operators ask a node for by hand, over its REST interface.
#pragma once

#include <cstdint>
#include <string>

#include "base/types.h"
#include "lease/time.h"

namespace pgsteady::core {

// Each is answered once, with a Reply of its id. Fields that the kind does not need are empty.
struct Request {
  enum class Kind {
    switchover,         // leader, candidate, scheduled_at, force
    failover,           // candidate, force; with a leader it is a switchover
    cancel_switchover,  // a scheduled one
  };
  Kind kind{};
  std::uint64_t id = 0;
  lease::Instant received;
  MemberName leader, candidate;
  std::string scheduled_at;  // as written; empty: now
  bool force = false;        // the candidate is taken although WAL would be lost

  bool operator==(const Request&) const = default;
};

}  // namespace pgsteady::core
