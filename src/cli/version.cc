#include <fmt/format.h>

#include "api/status_json.h"
#include "cli/commands.h"

namespace pgsteady::cli {

int version() {
  fmt::print("pgsteady {} (the interfaces of Patroni {})\n", PGSTEADY_VERSION,
             api::kPatroniVersion);
  return 0;
}

}  // namespace pgsteady::cli
