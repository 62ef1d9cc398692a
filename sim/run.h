// Runs one plan in a world of its own and says how it went.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sim/plan.h"

namespace pgsteady::sim {

struct Outcome {
  std::vector<std::string> violations;  // empty: all is well
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  Duration simulated{};
  std::size_t acknowledged = 0, lost = 0;
  std::set<std::string_view> reached;  // rare paths

  bool ok() const { return violations.empty(); }
};

// `on_line`: where the trace goes, if anywhere.
Outcome run_plan(const Plan& plan, const std::function<void(const std::string&)>& on_line = {});

}  // namespace pgsteady::sim
