// The policy: one value in, one value out. Never fails, never waits, reads no clock.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/action.h"
#include "core/state.h"

namespace pgsteady::core {

struct Reason {
  enum class Level { debug, info, warning, error, critical } level = Level::info;
  std::string text;
  bool operator==(const Reason&) const = default;
};

struct Decision {
  State state;
  std::vector<Action> actions;
  std::vector<Reason> reasons;  // why, in Patroni's words where operators know them
  lease::Instant next_wake;     // decide again at the latest then
  bool read_now = false;        // etcd is to be read again before the next step
  bool measure_now = false;     // the local server's figures are too old for the next step
  std::string member_state;     // Patroni's word for what this node does
  bool unfit = false;           // this node gave the lock up: others are to lead before it
  // A figure for a race can be shown: no leader key, the WAL receiver ended, measured since.
  std::optional<std::int64_t> leaderless_revision;
};

// Whether the cluster's settings are known. Until then a server is configured as it was before.
bool knows_settings(const Observation& seen);
// What synchronous_standby_names is to be in postgresql.conf; nullopt: whatever is configured.
std::optional<std::string> sync_names_for_file(const State& state, const DynamicConfig& settings);

Decision decide(const State& state, const Identity& self, const Observation& seen, Time now);

}  // namespace pgsteady::core
