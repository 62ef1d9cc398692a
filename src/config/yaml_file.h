// A YAML file, read with all of its ways to be wrong.
#pragma once

#include <yaml-cpp/yaml.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "config/section.h"

namespace pgsteady::config {

// Runs `read` on the file's root (an undefined node for an empty path) and returns what it found.
// The error lists all errors that were found, one a line; not_found when there is no such file.
Result<Findings> read_yaml(const std::string& path,
                           const std::function<void(const YAML::Node&, Findings&)>& read);

}  // namespace pgsteady::config
