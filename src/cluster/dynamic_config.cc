#include "cluster/dynamic_config.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <boost/json/value.hpp>
#include <cstdlib>

#include "cluster/json.h"

namespace pgsteady {
namespace {

// Patroni's settings that this version reads over. Each is named once, so that nobody believes in
// a guarantee that is not given.
constexpr std::array kNotHonoured = {"standby_cluster",      "slots",
                                     "ignore_slots",         "member_slots_ttl",
                                     "primary_stop_timeout", "master_stop_timeout",
                                     "max_timelines_history"};

constexpr std::array kHonoured = {
    "maximum_lag_on_failover", "check_timeline",          "pause",
    "failsafe_mode",           "synchronous_mode",        "synchronous_mode_strict",
    "synchronous_node_count",  "maximum_lag_on_syncnode", "postgresql"};

struct Seconds {
  const char* key;
  std::chrono::milliseconds DynamicConfig::*target;
  double least;
};

constexpr std::array kSeconds = {
    Seconds{"ttl", &DynamicConfig::ttl, 2},
    Seconds{"loop_wait", &DynamicConfig::loop_wait, 0.1},
    Seconds{"retry_timeout", &DynamicConfig::retry_timeout, 0.5},
    Seconds{"master_start_timeout", &DynamicConfig::primary_start_timeout, 0},
    Seconds{"primary_start_timeout", &DynamicConfig::primary_start_timeout, 0},
};

std::optional<double> as_double(const boost::json::value& value) {
  if (value.is_double()) return value.as_double();
  if (value.is_string()) {
    const std::string text(value.as_string());
    char* end = nullptr;
    auto number = std::strtod(text.c_str(), &end);
    return !text.empty() && *end == 0 ? std::optional(number) : std::nullopt;
  }
  auto whole = json_to_int(value);
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

void read_seconds(const boost::json::object& raw, const Seconds& setting, DynamicConfig& config) {
  const auto* value = raw.if_contains(setting.key);
  if (!value || value->is_null()) return;
  auto seconds = as_double(*value);
  if (!seconds || !(*seconds >= setting.least && *seconds <= 86400)) {  // nor is it "nan"
    config.wrong.push_back(
        fmt::format("{}: expected seconds from {} to 86400", setting.key, setting.least));
    return;
  }
  config.*setting.target = std::chrono::milliseconds(static_cast<std::int64_t>(*seconds * 1000));
}

void read_synchronous_mode(const boost::json::object& raw, FieldReader& fields,
                           DynamicConfig& config) {
  const auto* value = raw.if_contains("synchronous_mode");
  if (!value || value->is_null()) return;
  if (value->is_string() && value->as_string() == "quorum") {
    config.synchronous_mode = SynchronousMode::quorum;
  } else if (auto on = json_to_bool(*value)) {
    config.synchronous_mode = *on ? SynchronousMode::on : SynchronousMode::off;
  } else {
    fields.complain("synchronous_mode", "on, off or quorum");
  }
}

bool is_off(const boost::json::value& value) {
  if (value.is_null()) return true;
  if (value.is_object()) return value.as_object().empty();
  return !json_to_bool(value).value_or(true);
}

template <std::size_t N>
bool holds(const std::array<const char*, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void warn_of_others(const boost::json::object& raw, DynamicConfig& config) {
  for (const auto& entry : raw) {
    const std::string_view key = entry.key();
    bool in_seconds = std::any_of(kSeconds.begin(), kSeconds.end(),
                                  [&](const Seconds& setting) { return key == setting.key; });
    if (in_seconds || holds(kHonoured, key)) continue;
    if (!holds(kNotHonoured, key)) {
      config.warnings.push_back(fmt::format("{}: unknown key", key));
    } else if (!is_off(entry.value())) {
      config.warnings.push_back(fmt::format("{}: not honoured yet", key));
    }
  }
}

}  // namespace

DynamicConfig dynamic_config_from_object(boost::json::object raw) {
  DynamicConfig config;
  for (const auto& setting : kSeconds) read_seconds(raw, setting, config);
  FieldReader fields(raw);
  fields.number("maximum_lag_on_failover", config.maximum_lag_on_failover_bytes);
  fields.flag("check_timeline", config.check_timeline);
  fields.flag("pause", config.pause);
  fields.flag("failsafe_mode", config.failsafe_mode);
  read_synchronous_mode(raw, fields, config);
  fields.flag("synchronous_mode_strict", config.synchronous_mode_strict);
  fields.number("synchronous_node_count", config.synchronous_node_count);
  fields.number("maximum_lag_on_syncnode", config.maximum_lag_on_syncnode_bytes);
  if (const auto* postgresql = raw.if_contains("postgresql");
      postgresql && !postgresql->is_null()) {
    if (postgresql->is_object()) {
      config.postgresql = postgresql->as_object();
      FieldReader inner(config.postgresql);
      inner.flag("use_slots", config.use_slots);
      inner.flag("use_pg_rewind", config.use_pg_rewind);
      inner.flag("remove_data_directory_on_rewind_failure",
                 config.remove_data_directory_on_rewind_failure);
      inner.flag("remove_data_directory_on_diverged_timelines",
                 config.remove_data_directory_on_diverged_timelines);
      for (const auto& finding : inner.findings()) config.wrong.push_back("postgresql." + finding);
    } else {
      fields.complain("postgresql", "an object");
    }
  }
  for (const auto& finding : fields.findings()) config.wrong.push_back(finding);
  warn_of_others(raw, config);
  config.raw = std::move(raw);
  return config;
}

Result<DynamicConfig> dynamic_config_from_json(std::string_view json) {
  auto object = parse_json_object(json);
  if (!object) return tl::unexpected(object.error());
  return dynamic_config_from_object(std::move(*object));
}

}  // namespace pgsteady
