// What is done to a world, as data: steps at given times, a scenario's expectations, and their
// text. Random runs make plans too, so that one can be shrunk, printed and kept as a scenario.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "sim/cluster.h"

namespace pgsteady::sim {

// "at 12s cut pg1 etcd for 5s": a fault that ends by itself when `lasts` is over.
struct Step {
  Duration at{};
  std::string verb;
  std::vector<std::string> arguments;
  Duration lasts{};

  std::string text() const;
};

// "expect leader pg2", "expect lost 0", "expect outage below 8000", "expect reached ...";
// sim/run.cc knows them, sim/README.md lists them.
struct Expectation {
  std::string what;
};

struct Plan {
  std::uint64_t seed = 1;
  Settings settings;
  std::vector<Step> steps;
  Duration length = seconds(0);  // at least so long before everything is healed
  std::vector<Expectation> expectations;

  std::string text() const;
};

Result<Plan> parse_plan(std::string_view text);

// Composes a plan from a seed: settings, and five faults or more over ten minutes.
Plan random_plan(std::uint64_t seed);

}  // namespace pgsteady::sim
