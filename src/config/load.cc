#include <fmt/format.h>

#include <filesystem>

#include "cluster/dynamic_config.h"
#include "cluster/json.h"
#include "config/config.h"
#include "config/environment.h"
#include "config/etcd_section.h"
#include "config/known_keys.h"
#include "config/places.h"
#include "config/section.h"
#include "config/server_section.h"
#include "config/yaml_file.h"
#include "config/yaml_values.h"

namespace pgsteady::config {
namespace {

std::string plain_name(Section& top, const std::string& key) {
  auto value = top.text_or(key, "");
  if (value.empty()) {
    top.error(key, "missing, expected a name");
  } else if (value.find_first_of("/\n\r\t\"'") != std::string::npos) {
    top.error(key, fmt::format("'{}' holds a slash, quote or tab, expected a name", value));
  }
  return value;
}

void read_restapi(Section section, RestApi& restapi) {
  if (auto listen = section.host_port("listen", 8008)) {
    restapi.listen_host = listen->host;
    restapi.listen_port = listen->port;
  }
  if (auto connect = section.host_port("connect_address", restapi.listen_port)) {
    restapi.connect = *connect;
    if (is_wildcard(connect->host)) {
      section.error("connect_address", "others cannot connect to a wildcard, expected a host");
    }
  } else if (!section.has("connect_address")) {
    restapi.connect = {restapi.listen_host, restapi.listen_port};
    if (is_wildcard(restapi.listen_host)) {
      section.error("connect_address", "missing, and listen is a wildcard, expected host:port");
    }
  }
  auto authentication = section.section("authentication");
  restapi.authentication.username = authentication.text_or("username", "");
  restapi.authentication.password = authentication.text_or("password", "");
  if (restapi.authentication.username.empty() != restapi.authentication.password.empty()) {
    section.error("authentication", "expected both a username and a password");
  }
  authentication.check_unread({});
  section.check_unread(known_in_restapi());
}

// "name: what is wrong" as an error of that name; "postgresql.name: ..." one level deeper.
using Teller = void (Section::*)(const std::string&, const std::string&);
void tell(Section& dcs, const std::string& finding, Teller how) {
  auto colon = finding.find(": ");
  auto name = finding.substr(0, colon);
  auto what = finding.substr(colon + 2);
  auto dot = name.find('.');
  if (dot == std::string::npos) return (dcs.*how)(name, what);
  auto inner = dcs.section(name.substr(0, dot));
  (inner.*how)(name.substr(dot + 1), what);
}

void read_dcs(Section& bootstrap, NodeConfig& config) {
  auto node = bootstrap.node("dcs");
  if (!node.IsDefined() || node.IsNull()) return;
  if (!node.IsMap()) return bootstrap.error("dcs", "expected a map of settings");
  config.bootstrap_dcs = yaml_to_json(node).as_object();
  auto meaning = dynamic_config_from_object(config.bootstrap_dcs);
  auto dcs = bootstrap.section("dcs");
  // They count for the first node of a new cluster; what is made already they do not stop.
  std::error_code unknown;
  bool made = std::filesystem::exists(config.server.data_dir + "/PG_VERSION", unknown);
  for (const auto& finding : meaning.wrong) {
    tell(dcs, finding, made ? &Section::warning : &Section::error);
  }
  for (const auto& finding : meaning.warnings) tell(dcs, finding, &Section::warning);
}

void read_tags(Section& top, NodeConfig& config) {
  auto node = top.node("tags");
  if (!node.IsDefined() || node.IsNull()) return;
  if (!node.IsMap()) return top.error("tags", "expected a map of tags");
  config.tags.values = yaml_to_json(node).as_object();
  auto tags = top.section("tags");
  for (const auto& [tag, value] : config.tags.values) {
    if (value.is_null()) continue;
    bool number = tag == "failover_priority" || tag == "sync_priority";
    if (Tags::is_switch(tag) && !json_to_bool(value)) tags.error(tag, "expected true or false");
    if (number && !json_to_int(value)) tags.error(tag, "expected a whole number");
    if (tag == "replicatefrom" && !value.is_string()) tags.error(tag, "expected a member's name");
  }
}

void read_log(Section section, NodeConfig& config) {
  static const Keys levels = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
  auto level = section.text_or("level", "INFO");
  for (char& c : level) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  if (level == "WARN") level = "WARNING";
  if (!levels.contains(level)) {
    section.error("level",
                  fmt::format("'{}', expected DEBUG, INFO, WARNING, ERROR or CRITICAL", level));
  } else {
    config.log_level = level;
  }
  section.check_unread(known_in_log());
}

void read_watchdog(Section section, WatchdogDevice& watchdog) {
  auto mode = section.text_or("mode", "off");
  if (yaml_boolean(mode) == false) mode = "off";  // YAML 1.1 reads a bare off as false
  if (mode == "off" || mode == "automatic" || mode == "required") {
    watchdog.mode = mode;
  } else {
    section.error("mode", fmt::format("'{}', expected off, automatic or required", mode));
  }
  watchdog.device = section.text_or("device", watchdog.device);
  if (!watchdog.device.starts_with('/')) {
    section.error("device", fmt::format("'{}' is not absolute", watchdog.device));
  }
  auto margin = section.text_or("safety_margin", "5");
  if (margin == "-1") {
    watchdog.safety_margin_seconds = -1;
  } else if (auto seconds = parse_decimal(margin); seconds && *seconds <= 86400) {
    watchdog.safety_margin_seconds = static_cast<long>(*seconds);
  } else {
    section.error("safety_margin", fmt::format("'{}', expected seconds, or -1", margin));
  }
  section.check_unread(known_in_watchdog());
}

// `.` and other relative directories are meant from the data directory, where the server runs.
std::string socket_directory(const ServerSettings& server) {
  auto given = server.parameters.find("unix_socket_directories");
  if (given == server.parameters.end()) return server.state_dir;
  auto parts = split_commas(given->second);
  if (parts.empty()) return server.state_dir;
  auto path = (std::filesystem::path(server.data_dir) / parts.front()).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

void settle_places(Section own, const std::string& search_path, Findings& findings,
                   ServerSettings& server) {
  server.state_dir = own.text_or("state_dir", server.data_dir + ".pgsteady");
  own.check_unread({});
  if (!server.state_dir.starts_with('/') && !server.data_dir.empty()) {
    own.error("state_dir", fmt::format("'{}' is not absolute", server.state_dir));
  }
  if ((server.state_dir + "/").starts_with(server.data_dir + "/") && !server.data_dir.empty()) {
    own.error("state_dir", "lies in the data directory, expected a directory outside of it");
  }
  if (server.bin_dir.empty()) {
    auto found = find_bin_dir(server.data_dir, search_path);
    if (found) server.bin_dir = *found;
    if (!found) {
      findings.errors.push_back(fmt::format("{}: postgresql.bin_dir: missing, and {}",
                                            findings.file, found.error().message));
    }
  }
  if (server.pgpass_path.empty()) server.pgpass_path = server.state_dir + "/pgpass";
  server.unix_socket_dir = socket_directory(server);
  if (!fits_socket(server.unix_socket_dir, server.port)) {
    findings.errors.push_back(fmt::format(
        "{}: {} is too long for a socket, expected at most 90 bytes; set pgsteady.state_dir or "
        "unix_socket_directories in postgresql.parameters",
        findings.file, server.unix_socket_dir));
  }
}

void read_everything(const YAML::Node& root, const std::vector<std::string>& environment,
                     Findings& findings, NodeConfig& config) {
  auto overrides = overrides_from(environment, findings);
  Section top(root, "", overrides, findings);
  config.scope = plain_name(top, "scope");
  config.name = plain_name(top, "name");
  config.namespace_ = read_namespace(top);
  read_restapi(top.section("restapi"), config.restapi);
  auto etcd = etcd_section(top, overrides, findings);
  read_etcd(etcd, config.etcd);
  if (config.etcd.endpoints.empty()) {
    etcd.error("hosts", "missing, expected etcd's addresses as host:port (or host, or url)");
  }
  read_postgresql(top.section("postgresql"), config.server);
  auto bootstrap = top.section("bootstrap");
  read_bootstrap(bootstrap, config.server);
  read_dcs(bootstrap, config);
  Keys known = known_in_bootstrap();  // a bootstrap method has a section under its own name
  if (auto method = bootstrap.text("method"); method && *method != "initdb") {
    bootstrap.warning("method", "not honoured yet, initdb makes the cluster");
    known.insert(*method);
  }
  bootstrap.check_unread(known);
  read_tags(top, config);
  read_log(top.section("log"), config);
  read_watchdog(top.section("watchdog"), config.watchdog);
  top.mark_read("ctl");  // patronictl's own
  settle_places(top.section("pgsteady"), variable(environment, "PATH"), findings, config.server);
  top.check_unread(known_at_top());
  config.server.scope = config.scope;
  config.server.name = config.name;
}

}  // namespace

Result<ClientConfig> load_client(const std::string& path,
                                 const std::vector<std::string>& environment) {
  ClientConfig config;
  auto findings = read_yaml(path, [&](const YAML::Node& root, Findings& found) {
    auto overrides = overrides_from(environment, found);
    Section top(root, "", overrides, found);
    config.scope = top.text_or("scope", "");
    config.namespace_ = read_namespace(top);
    read_etcd(etcd_section(top, overrides, found), config.etcd);
    for (const char* place : {"restapi", "ctl"}) {
      auto authentication = top.section(place).section("authentication");
      if (!authentication.has("username")) continue;
      config.authentication.username = authentication.text_or("username", "");
      config.authentication.password = authentication.text_or("password", "");
    }
  });
  if (!findings) return tl::unexpected(findings.error());
  return config;
}

Result<NodeConfig> load(const std::string& path, const std::vector<std::string>& environment) {
  NodeConfig config;
  config.path = path;
  auto findings = read_yaml(path, [&](const YAML::Node& root, Findings& found) {
    read_everything(root, environment, found, config);
  });
  if (!findings) return tl::unexpected(findings.error());
  config.warnings = std::move(findings->warnings);
  return config;
}

}  // namespace pgsteady::config
