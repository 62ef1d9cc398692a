// How a command reaches a cluster: etcd for what stands there, a member's REST interface for what
// is to be done.
#pragma once

#include <chrono>
#include <string>

#include "cluster/view.h"
#include "config/config.h"
#include "http/message.h"

namespace pgsteady::cli {

struct Access {
  std::string config_path;  // empty: PATRONICTL_CONFIG_FILE, then patronictl's own default
  std::string dcs_url;      // over the file
};

// The file with what was said on the command line over it; refused when it names no etcd.
Result<config::ClientConfig> client_config(const Access& access);

// Five seconds at most.
Result<ClusterView> read_cluster(const config::ClientConfig& config, const std::string& scope);

// Asks a member; blocks. The body may be empty.
Result<http::Response> ask_member(const config::ClientConfig& config, const Member& member,
                                  const std::string& method, const std::string& path,
                                  const std::string& body, std::chrono::milliseconds limit);

}  // namespace pgsteady::cli
