// PATRONI_* variables as settings that lie over the file.
#pragma once

#include <string>
#include <vector>

#include "config/section.h"

namespace pgsteady::config {

// PATRONI_POSTGRESQL_LISTEN → "postgresql.listen", and so on. Variables that start with PATRONI_
// and mean nothing here are warned of by name; empty ones count as unset, as with Patroni.
Overrides overrides_from(const std::vector<std::string>& environment, Findings& findings);

// The value of a variable, or empty.
std::string variable(const std::vector<std::string>& environment, const std::string& name);

}  // namespace pgsteady::config
