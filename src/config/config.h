// A node's configuration: a Patroni YAML file, then PATRONI_* environment over it, as typed values.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/member.h"
#include "cluster/server_settings.h"

namespace pgsteady::config {

struct Etcd {
  std::vector<std::string> endpoints;  // "host:port"
  bool tls = false;
  std::string ca_file, cert_file, key_file, username, password;
};

struct RestApi {
  std::string listen_host = "127.0.0.1";
  std::uint16_t listen_port = 8008;
  HostPort connect;
  Credentials authentication{"", ""};  // an empty name: anybody may change things
};

// The kernel's watchdog device, fed by the guardian.
struct WatchdogDevice {
  std::string mode = "off";  // off, automatic, required
  std::string device = "/dev/watchdog";
  long safety_margin_seconds = 5;  // below 0: half of the ttl
};

struct NodeConfig {
  std::string path;  // the file it came from
  std::string scope, name;
  std::string namespace_ = "/service";  // with the leading, without the trailing slash
  Etcd etcd;
  RestApi restapi;
  ServerSettings server;
  Tags tags;
  boost::json::object
      bootstrap_dcs;  // `bootstrap.dcs`, what the first node writes to the config key
  WatchdogDevice watchdog;
  std::string log_level = "INFO";
  std::vector<std::string> warnings;  // unknown or not yet honoured keys, "file:line: ..."

  std::string prefix() const { return namespace_ + "/" + scope + "/"; }  // "/service/demo/"
};

// What a command needs that only asks etcd: scope, namespace and where etcd is.
struct ClientConfig {
  std::string scope;  // may be empty
  std::string namespace_ = "/service";
  Etcd etcd;                           // endpoints may be empty
  Credentials authentication{"", ""};  // of the members' REST interface

  std::string prefix_of(const std::string& cluster) const {
    return namespace_ + "/" + cluster + "/";
  }
};

// Of a node's file or a patronictl.yaml; an empty path means the environment alone. Other keys than
// those are passed over.
Result<ClientConfig> load_client(const std::string& path,
                                 const std::vector<std::string>& environment);
// "etcd3://host:port,...", "https://host:port", "host:port,host:port": all that --dcs-url may be.
Result<Etcd> etcd_of_url(const std::string& url);

// Reads, merges, checks. The error lists every finding, one a line, "file:line: key: what was
// wrong, what was expected". `environment` as of environ, so that tests need none of their own.
Result<NodeConfig> load(const std::string& path, const std::vector<std::string>& environment);

}  // namespace pgsteady::config
