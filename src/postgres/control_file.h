// What pg_controldata prints, and timeline history files, as values. All pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cluster/local_server.h"

namespace pgsteady::pg {

// From pg_controldata's output under LC_ALL=C. corrupt when a field is missing or unreadable, or
// the program warned that the checksum is wrong.
Result<ControlFile> parse_control_data(const std::string& output);
// The settings whose value a standby must not go below: max_connections and its like.
std::map<std::string, long> settings_in_control_data(const std::string& output);

// A .history file: lines of "parent timeline <tab> switch LSN <tab> reason", # begins a comment.
Result<std::vector<TimelineSwitch>> parse_history(std::string_view text);
std::string history_file_name(Timeline timeline);  // "00000002.history"

}  // namespace pgsteady::pg
