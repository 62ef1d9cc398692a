#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "api/status_json.h"
#include "cli/cluster_access.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/table.h"

namespace pgsteady::cli {
namespace {

std::string initialize_text(const ClusterView& cluster) {
  if (!cluster.initialize) return "uninitialized";
  return cluster.initialize->empty() ? "initializing" : *cluster.initialize;
}

int list_one(const config::ClientConfig& config, const std::string& scope,
             const ListOptions& options) {
  auto cluster = read_cluster(config, scope);
  if (!cluster) return complain(cluster.error());
  for (const auto& problem : cluster->problems) {
    fmt::print(stderr, "pgsteady: {}{}\n", config.prefix_of(scope), problem);
  }
  auto document = api::cluster_document(*cluster, scope);
  auto table = member_table(document, scope, initialize_text(*cluster), options.extended);
  fmt::print("{}", render(table, options.format));
  std::fflush(stdout);
  return 0;
}

}  // namespace

int list(const ListOptions& options) {
  auto config = client_config({options.config_path, options.dcs_url});
  if (!config) return complain(config.error());
  auto scopes = options.scopes;
  if (scopes.empty() && !config->scope.empty()) scopes = {config->scope};
  if (scopes.empty()) {
    return complain({ErrorKind::refused, "which cluster was not said",
                     "name its scope, or a configuration with -c"});
  }
  for (;;) {
    int code = 0;
    for (const auto& scope : scopes) code = std::max(code, list_one(*config, scope, options));
    if (!options.watch_seconds) return code;
    std::this_thread::sleep_for(std::chrono::duration<double>(*options.watch_seconds));
  }
}

}  // namespace pgsteady::cli
