#include "config/environment.h"

#include <fmt/format.h>

namespace pgsteady::config {
namespace {

// The variable's name after PATRONI_, and the setting.
const std::map<std::string, std::string>& variables() {
  static const std::map<std::string, std::string> table = {
      {"NAME", "name"},
      {"SCOPE", "scope"},
      {"NAMESPACE", "namespace"},
      {"LOG_LEVEL", "log.level"},
      {"RESTAPI_LISTEN", "restapi.listen"},
      {"RESTAPI_CONNECT_ADDRESS", "restapi.connect_address"},
      {"RESTAPI_USERNAME", "restapi.authentication.username"},
      {"RESTAPI_PASSWORD", "restapi.authentication.password"},
      {"POSTGRESQL_LISTEN", "postgresql.listen"},
      {"POSTGRESQL_CONNECT_ADDRESS", "postgresql.connect_address"},
      {"POSTGRESQL_DATA_DIR", "postgresql.data_dir"},
      {"POSTGRESQL_BIN_DIR", "postgresql.bin_dir"},
      {"POSTGRESQL_PGPASS", "postgresql.pgpass"},
      {"SUPERUSER_USERNAME", "postgresql.authentication.superuser.username"},
      {"SUPERUSER_PASSWORD", "postgresql.authentication.superuser.password"},
      {"REPLICATION_USERNAME", "postgresql.authentication.replication.username"},
      {"REPLICATION_PASSWORD", "postgresql.authentication.replication.password"},
      {"REWIND_USERNAME", "postgresql.authentication.rewind.username"},
      {"REWIND_PASSWORD", "postgresql.authentication.rewind.password"},
  };
  return table;
}

// ETCD3_HOST and ETCD_HOST both mean etcd3.host; the first wins.
const std::set<std::string>& etcd_settings() {
  static const std::set<std::string> names = {"HOST",     "HOSTS",  "URL",  "PROTOCOL", "USERNAME",
                                              "PASSWORD", "CACERT", "CERT", "KEY"};
  return names;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return text;
}

std::string setting_of(const std::string& name) {
  if (auto found = variables().find(name); found != variables().end()) return found->second;
  for (std::string prefix : {"ETCD3_", "ETCD_"}) {
    if (!name.starts_with(prefix)) continue;
    auto rest = name.substr(prefix.size());
    if (etcd_settings().contains(rest)) return "etcd3." + lower(rest);
  }
  return {};
}

}  // namespace

std::string variable(const std::vector<std::string>& environment, const std::string& name) {
  for (const auto& entry : environment) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return {};
}

Overrides overrides_from(const std::vector<std::string>& environment, Findings& findings) {
  Overrides overrides;
  for (const auto& entry : environment) {
    auto equals = entry.find('=');
    if (!entry.starts_with("PATRONI_") || equals == std::string::npos) continue;
    auto name = entry.substr(0, equals);
    auto value = entry.substr(equals + 1);
    if (value.empty() || name == "PATRONI_CONFIGURATION") continue;
    auto setting = setting_of(name.substr(8));
    if (setting.empty()) {
      findings.warnings.push_back(fmt::format("{}: not honoured yet", name));
    } else if (name.starts_with("PATRONI_ETCD_")) {
      overrides.try_emplace(setting, Override{value, name});
    } else {
      overrides[setting] = Override{value, name};
    }
  }
  return overrides;
}

}  // namespace pgsteady::config
