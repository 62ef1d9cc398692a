#include <fmt/format.h>

#include "base/process.h"
#include "cli/commands.h"
#include "cli/process_environment.h"
#include "cluster/dynamic_config.h"
#include "config/config.h"

namespace pgsteady::cli {

int validate(const std::string& config_path) {
  auto config = config::load(config_path, process_environment());
  if (!config) return complain(config.error());
  for (const auto& warning : config->warnings) fmt::print("warning: {}\n", warning);
  for (const auto& warning : dynamic_config_from_object(config->bootstrap_dcs).warnings) {
    fmt::print("warning: {}: bootstrap.dcs: {}\n", config_path, warning);
  }
  fmt::print("{}: valid\n", config_path);
  return 0;
}

}  // namespace pgsteady::cli
