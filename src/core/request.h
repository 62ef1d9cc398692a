// What operators ask a node for by hand, over its REST interface.
#pragma once

#include <boost/json/object.hpp>
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
    restart,            // restart_pending, role, postgres_version, timeout, scheduled_at
    cancel_restart,     // a scheduled one
    reinitialize,       // force: cancels a job that is under way
    reload,             // the configuration file is read anew
    patch_config,       // config: merged into the dynamic configuration, null deletes
    put_config,         // config: replaces it
  };
  Kind kind{};
  std::uint64_t id = 0;
  lease::Instant received;
  MemberName leader, candidate;
  std::string scheduled_at;  // as written; empty: now
  bool force = false;        // the candidate is taken although WAL would be lost
  // Conditions of a restart; the empty ones always hold.
  bool restart_pending = false;
  std::string role;          // primary or replica
  int postgres_version = 0;  // below this one, as 150018
  lease::Duration timeout{};
  boost::json::object config;  // the body of what has one

  bool operator==(const Request&) const = default;
};

}  // namespace pgsteady::core
