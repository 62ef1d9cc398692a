// The verbs. Each returns the process's exit code: 0 done, 1 failed, 2 wrong usage.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pgsteady::cli {

// Becomes the guardian; returns only when that is not possible.
int run(const std::string& config_path);
// Prints all findings; 1 when one of them is an error.
int validate(const std::string& config_path);
// What the guardian starts: the agent and its REST interface.
int agent(const std::string& config_path);
int version();

struct ListOptions {
  std::string config_path;  // empty: PATRONICTL_CONFIG_FILE, then patronictl's own default
  std::string dcs_url;      // over the file
  std::string format = "pretty";
  std::vector<std::string> scopes;  // empty: the file's
  bool extended = false;
  std::optional<double> watch_seconds;
};
int list(const ListOptions& options);

}  // namespace pgsteady::cli
