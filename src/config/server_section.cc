#include "config/server_section.h"

#include <fmt/format.h>

#include <filesystem>

#include "config/known_keys.h"
#include "config/places.h"
#include "config/yaml_values.h"

namespace pgsteady::config {
namespace {

// "a,b:5432": one port for all of them, behind the last.
void read_listen(Section& postgresql, ServerSettings& server) {
  auto text = postgresql.text_or("listen", "127.0.0.1:5432");
  auto parts = split_commas(text);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto address = parse_host_port(parts[i], i + 1 == parts.size() ? 5432 : 0);
    if (!address || (i + 1 < parts.size() && address->port != 0)) {
      postgresql.error("listen",
                       fmt::format("'{}' is no address, expected host[,host]:port", text));
      return;
    }
    server.listen_hosts.push_back(address->host);
    server.port = address->port ? address->port : server.port;
  }
  if (parts.empty()) postgresql.error("listen", "empty, expected host:port");
}

void read_connect_address(Section& postgresql, ServerSettings& server) {
  if (auto address = postgresql.host_port("connect_address", server.port)) {
    if (is_wildcard(address->host)) {
      postgresql.error("connect_address", "others cannot connect to a wildcard, expected a host");
    }
    server.connect = *address;
  } else if (!postgresql.has("connect_address") && !server.listen_hosts.empty()) {
    server.connect = {server.listen_hosts.front(), server.port};
    if (is_wildcard(server.connect.host)) {
      postgresql.error("connect_address", "missing, and listen is a wildcard, expected host:port");
    }
  }
}

void read_credentials(Section section, Credentials& credentials) {
  credentials.username = section.credential_or("username", credentials.username);
  credentials.password = section.credential_or("password", credentials.password);
  section.check_unread(known_in_credentials());
}

void read_authentication(Section authentication, ServerSettings& server) {
  read_credentials(authentication.section("superuser"), server.superuser);
  read_credentials(authentication.section("replication"), server.replication);
  read_credentials(authentication.section("rewind"), server.rewind);
  authentication.check_unread({});
}

void read_parameters(Section parameters, ServerSettings& server) {
  for (const auto& [name, value] : parameters.entries()) {
    if (value.IsNull()) continue;
    if (auto text = parameters.text(name)) server.parameters[name] = *text;
  }
}

std::string initdb_option(const std::string& name, const std::string& value) {
  return value.empty() ? "--" + name : fmt::format("--{}={}", name, value);
}

void add_initdb_option(Section& bootstrap, const std::string& name, const std::string& value,
                       ServerSettings& server) {
  for (const char* ours : {"pgdata", "username", "pwfile", "pwprompt", "sync-only", "version"}) {
    if (name == ours) {
      bootstrap.error("initdb", fmt::format("the option {} is not allowed here", name));
      return;
    }
  }
  server.initdb_options.push_back(initdb_option(name, value));
}

void add_initdb_map(Section& bootstrap, const YAML::Node& map, ServerSettings& server) {
  for (const auto& pair : map) {
    bool plain = pair.first.IsScalar() && (pair.second.IsScalar() || pair.second.IsNull());
    if (!plain) {
      bootstrap.error("initdb", "expected options as NAME or NAME: VALUE");
      continue;
    }
    auto value = pair.second.IsNull() ? std::string() : pair.second.Scalar();
    auto flag = pair.second.Tag() == "!" ? std::nullopt : yaml_boolean(value);
    if (flag == false) continue;
    add_initdb_option(bootstrap, pair.first.Scalar(), flag ? "" : value, server);
  }
}

void read_initdb(Section& bootstrap, ServerSettings& server) {
  auto node = bootstrap.node("initdb");
  if (!node.IsDefined() || node.IsNull()) return;
  if (node.IsMap()) return add_initdb_map(bootstrap, node, server);
  if (!node.IsSequence()) return bootstrap.error("initdb", "expected a list of options");
  for (const auto& item : node) {
    if (item.IsScalar()) {
      add_initdb_option(bootstrap, item.Scalar(), "", server);
    } else if (item.IsMap()) {
      add_initdb_map(bootstrap, item, server);
    } else {
      bootstrap.error("initdb", "expected options as NAME or NAME: VALUE");
    }
  }
}

void read_users(Section users, ServerSettings& server) {
  for (const auto& [name, value] : users.entries()) {
    auto user = users.section(name);
    ServerSettings::User made;
    made.credentials = {name, user.credential_or("password", "")};
    made.options = user.texts("options");
    user.check_unread({});
    server.users.push_back(std::move(made));
  }
}

}  // namespace

void read_postgresql(Section postgresql, ServerSettings& server) {
  server.data_dir = postgresql.text_or("data_dir", "");
  if (server.data_dir.empty()) {
    postgresql.error("data_dir", "missing, expected an absolute directory");
  } else if (!server.data_dir.starts_with('/')) {
    postgresql.error("data_dir", fmt::format("'{}' is not absolute", server.data_dir));
  } else {
    server.data_dir = std::filesystem::path(server.data_dir).lexically_normal().string();
    if (server.data_dir.size() > 1 && server.data_dir.back() == '/') server.data_dir.pop_back();
  }
  read_listen(postgresql, server);
  read_connect_address(postgresql, server);
  read_authentication(postgresql.section("authentication"), server);
  read_parameters(postgresql.section("parameters"), server);
  server.pg_hba = postgresql.lines("pg_hba");
  server.pg_ident = postgresql.lines("pg_ident");
  server.pgpass_path = postgresql.text_or("pgpass", "");
  postgresql.boolean("use_unix_socket");  // the agent always uses the socket
  server.bin_dir = postgresql.text_or("bin_dir", "");
  if (!server.bin_dir.empty() && !has_postgres(server.bin_dir)) {
    postgresql.error("bin_dir", fmt::format("no program 'postgres' in {}", server.bin_dir));
  }
  Keys known = known_in_postgresql();  // a replica method has a section under its own name
  for (const char* key : {"create_replica_methods", "create_replica_method"}) {
    auto methods = postgresql.node(key);
    if (!methods.IsDefined() || !methods.IsSequence()) continue;
    for (const auto& method : methods) {
      if (method.IsScalar()) known.insert(method.Scalar());
    }
    postgresql.warning(key, "not honoured yet");
  }
  postgresql.check_unread(known);
}

void read_bootstrap(Section& bootstrap, ServerSettings& server) {
  read_initdb(bootstrap, server);
  read_users(bootstrap.section("users"), server);
  auto hba = bootstrap.lines("pg_hba");
  if (server.pg_hba.empty()) server.pg_hba = hba;
}

}  // namespace pgsteady::config
