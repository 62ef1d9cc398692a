// The configuration that all members share: the `config` key in etcd. Patroni's names.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace pgsteady {

enum class SynchronousMode { off, on, quorum };

struct DynamicConfig {
  std::chrono::milliseconds ttl{5000};
  std::chrono::milliseconds loop_wait{1000};
  std::chrono::milliseconds retry_timeout{3000};
  std::chrono::milliseconds primary_start_timeout{10000};  // Patroni's alias: master_start_timeout
  std::int64_t maximum_lag_on_failover_bytes = 1 << 20;
  bool check_timeline = false;
  bool use_slots = true;
  bool use_pg_rewind = true;
  // Unless told not to, a node whose history parted is cloned anew when it cannot be rewound.
  bool remove_data_directory_on_rewind_failure = true;
  bool remove_data_directory_on_diverged_timelines = true;
  bool pause = false;
  bool failsafe_mode = true;
  SynchronousMode synchronous_mode = SynchronousMode::off;
  bool synchronous_mode_strict = false;  // without a standby nothing is acknowledged
  std::int64_t synchronous_node_count = 1;
  std::int64_t maximum_lag_on_syncnode_bytes = -1;  // -1: any
  boost::json::object postgresql;  // parameters, pg_hba, ... as they stand under `postgresql`
  boost::json::object raw;         // the whole key, for writing it back unchanged

  // Settings of a wrong value, for which the default holds, and those that are not honoured, each
  // line with its name first: "ttl: expected ...", "postgresql.use_slots: ...".
  std::vector<std::string> wrong, warnings;
  bool operator==(const DynamicConfig& other) const { return raw == other.raw; }
};

// Never fails for single settings: those fall back to their defaults with a warning. Fails only
// when the text is no JSON object.
Result<DynamicConfig> dynamic_config_from_json(std::string_view json);
DynamicConfig dynamic_config_from_object(boost::json::object raw);

}  // namespace pgsteady
