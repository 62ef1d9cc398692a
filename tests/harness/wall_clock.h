// Wall clocks of a cluster's nodes, to be set while they run: programs are given theirs by Debian's
// libfaketime, which reads it anew from a file each second. The clocks that safety rests on
// (CLOCK_BOOTTIME, CLOCK_MONOTONIC) stay as they are, and the guardian, a static program, has the
// machine's.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace pgsteady::testing {

class WallClocks {
 public:
  static std::string missing();  // why there can be none here, "" when there can

  // A file for each node in `dir`. To be destroyed when the nodes have ended.
  explicit WallClocks(std::filesystem::path dir) : dir_(std::move(dir)) {}
  ~WallClocks();
  WallClocks(const WallClocks&) = delete;
  WallClocks& operator=(const WallClocks&) = delete;

  // For a node that is new: its clock is right.
  std::vector<std::string> environment(const std::string& node);
  void set(const std::string& node, std::chrono::seconds ahead);
  void started(pid_t pid) { started_.push_back(pid); }  // with such an environment

 private:
  std::filesystem::path file_of(const std::string& node) const { return dir_ / ("clock-" + node); }

  std::filesystem::path dir_;
  std::vector<pid_t> started_;
};

}  // namespace pgsteady::testing
