#include <fmt/format.h>

#include "base/process.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "config/config.h"

namespace pgsteady::cli {

int validate(const std::string& config_path) {
  auto config = config::load(config_path, process_environment());
  if (!config) return complain(config.error());
  for (const auto& warning : config->warnings) fmt::print("warning: {}\n", warning);
  fmt::print("{}: valid\n", config_path);
  return 0;
}

}  // namespace pgsteady::cli
