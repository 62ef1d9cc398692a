// Parameters whose new value waits for a restart of the server.
#pragma once

#include <map>
#include <string>

namespace pgsteady {

struct SettingChange {
  std::string old_value, new_value;  // as the server shows it, as it is configured; empty: not told
  bool operator==(const SettingChange&) const = default;
};
using SettingChanges = std::map<std::string, SettingChange>;  // by the parameter's name

}  // namespace pgsteady
