// Hunts mutants: runs each against the scenarios and seeds that are expected to kill it, then
// against all of them, until it dies. A run counts only if it passes unmutated.
#pragma once

#include <functional>
#include <string>

#include "sim/mutants/mutants.h"

namespace pgsteady::sim {

struct Kill {
  std::string name;       // of the mutant
  std::string by;         // "gentle_restart 17"; empty: it survives
  std::string violation;  // what the checker said
  std::size_t runs = 0;   // that it took
};

struct HuntOptions {
  std::uint64_t seeds = 60;           // of random plans, after the scenarios
  std::uint64_t scenario_seeds = 20;  // with which each scenario is run
  bool random_only = false;           // no scenario: what random plans alone notice
  unsigned threads = 2;
};

// In the order of `mutants`. `done` is called as each ends, from the hunting threads one at a time.
std::vector<Kill> hunt(const std::vector<Mutant>& mutants, const HuntOptions& options,
                       const std::function<void(const Kill&)>& done);

}  // namespace pgsteady::sim
