// YAML values as JSON, with the types PyYAML (so Patroni) would give them.
#pragma once

#include <yaml-cpp/yaml.h>

#include <boost/json/value.hpp>
#include <optional>
#include <string>

namespace pgsteady::config {

// YAML 1.1: yes, no, on, off, true, false.
std::optional<bool> yaml_boolean(std::string text);

// Quoted scalars stay text; plain ones become null, boolean, integer, double or text. Nesting is
// bounded: deeper than 64 throws YAML::Exception.
boost::json::value yaml_to_json(const YAML::Node& node);

}  // namespace pgsteady::config
