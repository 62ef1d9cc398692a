#include "postgres/configuration.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <set>

#include "postgres/conninfo.h"

namespace pgsteady::pg {
namespace {

const Parameters& equal_on_all_nodes() {
  static const Parameters defaults = {
      {"wal_level", "replica"},           {"hot_standby", "on"},
      {"max_connections", "100"},         {"max_wal_senders", "10"},
      {"max_prepared_transactions", "0"}, {"max_locks_per_transaction", "64"},
      {"track_commit_timestamp", "off"},  {"max_replication_slots", "10"},
      {"max_worker_processes", "8"},      {"wal_log_hints", "on"},
  };
  return defaults;
}

// Set by us alone: a value from elsewhere would take the server out of our hands.
const std::set<std::string, std::less<>>& reserved() {
  static const std::set<std::string, std::less<>> names = {
      "listen_addresses",
      "port",
      "cluster_name",
      "data_directory",
      "config_file",
      "hba_file",
      "ident_file",
      "external_pid_file",
      "primary_conninfo",
      "primary_slot_name",
      "promote_trigger_file",
      "recovery_target",
      "recovery_target_lsn",
      "recovery_target_name",
      "recovery_target_time",
      "recovery_target_xid",
      "recovery_target_action",
      "recovery_target_inclusive",
      "recovery_target_timeline",
  };
  return names;
}

Parameters own_defaults(const ServerSettings& settings) {
  return {
      // After a crash: one call for the file system, not an fsync for each file.
      {"recovery_init_sync_method", "syncfs"},
      // A standby promoted right after its primary's end would else wait 5 s for its next try.
      {"wal_retrieve_retry_interval", "100ms"},
      // A member that never comes back must not fill the disk.
      {"max_slot_wal_keep_size", "10GB"},
      {"wal_keep_size", "128MB"},
      {"wal_receiver_timeout", "10s"},
      {"wal_sender_timeout", "10s"},
      {"tcp_keepalives_idle", "30"},
      {"tcp_keepalives_interval", "5"},
      {"tcp_keepalives_count", "3"},
      {"password_encryption", "scram-sha-256"},
      {"archive_mode", "off"},
      {"logging_collector", "on"},
      {"log_directory", settings.state_dir + "/log"},
      // One file for each day of the week, written over a week later.
      {"log_filename", "postgresql-%a.log"},
      {"log_truncate_on_rotation", "on"},
      {"log_rotation_age", "1d"},
      {"log_rotation_size", "0"},
      {"log_line_prefix", "%m [%p] %q%u@%d "},
  };
}

bool is_parameter_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
  };
  return !name.empty() && (name[0] < '0' || name[0] > '9') && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), good);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

// Nothing for null: Patroni's way to take a setting back.
std::optional<std::string> as_text(const boost::json::value& value) {
  if (value.is_bool()) return value.get_bool() ? "on" : "off";
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_null() || value.is_object() || value.is_array()) return std::nullopt;
  return boost::json::serialize(value);
}

Parameters cluster_parameters(const boost::json::object& cluster) {
  Parameters result;
  const auto* parameters = cluster.if_contains("parameters");
  if (!parameters || !parameters->is_object()) return result;
  for (const auto& entry : parameters->get_object()) {
    if (auto text = as_text(entry.value())) result[lower(entry.key())] = *text;
  }
  return result;
}

std::vector<std::string> cluster_lines(const boost::json::object& cluster, std::string_view key) {
  std::vector<std::string> result;
  const auto* lines = cluster.if_contains(key);
  if (!lines || !lines->is_array()) return result;
  for (const auto& line : lines->get_array()) {
    if (line.is_string()) result.emplace_back(line.get_string());
  }
  return result;
}

bool usable(const std::string& name, const std::string& from, std::vector<std::string>& warnings) {
  if (!is_parameter_name(name)) {
    warnings.push_back(fmt::format("{}: \"{}\" is no name of a parameter", from, name));
    return false;
  }
  if (reserved().contains(name)) {
    warnings.push_back(fmt::format("{}: {} is set by pgsteady and was passed over", from, name));
    return false;
  }
  return true;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string result;
  for (const auto& part : parts) result += (result.empty() ? "" : ",") + part;
  return result;
}

// Ours first, then the configured ones; twice the same would keep the server from starting.
std::string socket_directories(const std::string& own, std::string_view configured) {
  std::vector<std::string> all = {own};
  while (!configured.empty()) {
    const auto comma = configured.find(',');
    auto one = configured.substr(0, comma);
    configured = comma == std::string_view::npos ? "" : configured.substr(comma + 1);
    while (one.starts_with(' ')) one.remove_prefix(1);
    while (one.ends_with(' ') || one.ends_with('/')) one.remove_suffix(1);
    if (!one.empty() && std::find(all.begin(), all.end(), one) == all.end()) all.emplace_back(one);
  }
  return joined(all);
}

void set_replication(Parameters& result, const ServerSettings& settings,
                     const Replication& replication) {
  result["recovery_target_timeline"] = "latest";
  result["primary_conninfo"] = "";
  result["primary_slot_name"] = "";
  if (!replication.as_standby || !replication.upstream) return;
  result["primary_conninfo"] = primary_conninfo(settings, *replication.upstream);
  if (replication.upstream->use_slot) result["primary_slot_name"] = slot_name(settings.name);
}

// The whole of a file made of lines.
std::string file_of(const std::vector<std::string>& lines) {
  std::string result = std::string(kGeneratedLine) + "\n";
  for (const auto& line : lines) result += line + "\n";
  return result;
}

}  // namespace

Parameters forced_parameters(const ServerSettings& settings, const boost::json::object& cluster) {
  Parameters forced = equal_on_all_nodes();
  const Parameters wanted = cluster_parameters(cluster);
  for (auto& [name, value] : forced) {
    if (auto found = wanted.find(name); found != wanted.end()) value = found->second;
  }
  if (lower(forced["wal_level"]) != "logical") forced["wal_level"] = "replica";
  forced["hot_standby"] = "on";
  forced["listen_addresses"] =
      settings.listen_hosts.empty() ? "localhost" : joined(settings.listen_hosts);
  forced["port"] = std::to_string(settings.port);
  forced["cluster_name"] = settings.scope;
  return forced;
}

void raise_for_standby(Parameters& forced, const std::map<std::string, long>& in_control_file) {
  for (const auto& [name, least] : in_control_file) {
    static const std::map<std::string, std::string> kControlNames = {
        {"max_locks_per_xact", "max_locks_per_transaction"},
        {"max_prepared_xacts", "max_prepared_transactions"}};
    const auto alias = kControlNames.find(name);
    auto found = forced.find(alias == kControlNames.end() ? name : alias->second);
    if (found == forced.end()) continue;
    long value = 0;
    const auto& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && value < least) {
      found->second = std::to_string(least);
    }
  }
}

Parameters file_parameters(const ServerSettings& settings, const boost::json::object& cluster,
                           const Replication& replication, std::vector<std::string>& warnings) {
  Parameters result = own_defaults(settings);
  for (const auto& [name, value] : cluster_parameters(cluster)) {
    if (usable(name, "cluster configuration", warnings)) result[name] = value;
  }
  for (const auto& [key, value] : settings.parameters) {
    const std::string name = lower(key);
    if (!usable(name, "node configuration", warnings)) continue;
    if (equal_on_all_nodes().contains(name)) {
      warnings.push_back(fmt::format(
          "node configuration: {} must be equal on all nodes and was passed over, set it in the "
          "cluster configuration",
          name));
      continue;
    }
    result[name] = value;
  }
  for (const auto& [name, value] : forced_parameters(settings, cluster)) result[name] = value;
  auto& sockets = result["unix_socket_directories"];
  sockets = socket_directories(settings.unix_socket_dir, sockets);
  set_replication(result, settings, replication);
  return result;
}

std::string postgresql_conf(const Parameters& parameters) {
  std::string text = fmt::format("{}\ninclude '{}'\n\n", kGeneratedLine, kBaseConf);
  for (const auto& [name, value] : parameters) {
    text += fmt::format("{} = {}\n", name, guc_literal(value));
  }
  return text;
}

std::string without_reserved(const std::string& auto_conf) {
  std::string result;
  for (std::size_t at = 0; at < auto_conf.size();) {
    const auto end = std::min(auto_conf.find('\n', at), auto_conf.size() - 1) + 1;
    const auto line = auto_conf.substr(at, end - at);
    const auto name = lower(line.substr(0, line.find_first_of(" =\t")));
    if (!reserved().contains(name)) result += line;
    at = end;
  }
  return result;
}

std::string pg_hba_conf(const ServerSettings& settings, const boost::json::object& cluster,
                        const std::string& os_user) {
  const auto superuser = sql_identifier(settings.superuser.username);
  const auto replicator = sql_identifier(settings.replication.username);
  const std::string method = os_user.empty() ? "scram-sha-256" : "peer map=pgsteady";
  // The agent's own way in comes first, whatever else is configured.
  std::vector<std::string> lines = {fmt::format("local all {} {}", superuser, method),
                                    fmt::format("local replication {} {}", superuser, method)};
  auto configured = settings.pg_hba;
  if (configured.empty()) configured = cluster_lines(cluster, "pg_hba");
  if (configured.empty()) {
    configured = {"local all all scram-sha-256", "host all all 0.0.0.0/0 scram-sha-256",
                  "host all all ::/0 scram-sha-256",
                  fmt::format("host replication {} 0.0.0.0/0 scram-sha-256", replicator),
                  fmt::format("host replication {} ::/0 scram-sha-256", replicator)};
  }
  lines.insert(lines.end(), configured.begin(), configured.end());
  return file_of(lines);
}

std::string pg_ident_conf(const ServerSettings& settings, const boost::json::object& cluster,
                          const std::string& os_user) {
  std::vector<std::string> lines;
  if (!os_user.empty()) {
    lines.push_back(fmt::format("pgsteady {} {}", sql_identifier(os_user),
                                sql_identifier(settings.superuser.username)));
  }
  auto configured = settings.pg_ident;
  if (configured.empty()) configured = cluster_lines(cluster, "pg_ident");
  lines.insert(lines.end(), configured.begin(), configured.end());
  return file_of(lines);
}

std::string primary_conninfo(const ServerSettings& settings, const Upstream& upstream) {
  return conninfo({{"host", upstream.address.host},
                   {"port", std::to_string(upstream.address.port)},
                   {"user", settings.replication.username},
                   {"passfile", settings.pgpass_path},
                   {"application_name", settings.name},
                   {"connect_timeout", "3"},
                   {"keepalives_idle", "5"},
                   {"keepalives_interval", "2"},
                   {"keepalives_count", "3"}});
}

const Credentials& rewind_credentials(const ServerSettings& settings) {
  return settings.rewind.username.empty() ? settings.superuser : settings.rewind;
}

}  // namespace pgsteady::pg
