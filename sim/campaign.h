// Many seeds, a world per thread, and what to say about those that failed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sim/run.h"

namespace pgsteady::sim {

struct CampaignOptions {
  std::uint64_t first_seed = 1;
  std::uint64_t seeds = 100;
  unsigned threads = 2;
  unsigned repeat_every = 25;  // each so many-th seed runs twice, and must end in the same hash
  unsigned stop_after = 3;     // failures
  const Mutation* mutation = nullptr;
};

struct Failure {
  std::uint64_t seed = 0;
  std::string violation;
};

struct CampaignResult {
  std::uint64_t runs = 0;
  std::uint64_t events = 0;
  Duration simulated{};
  std::uint64_t acknowledged = 0, lost = 0;
  std::vector<Failure> failures;                      // by seed
  std::map<std::string_view, std::uint64_t> reached;  // rare path → in how many runs
};

CampaignResult run_campaign(const CampaignOptions& options);

// The same failure with as few steps as can be had by leaving one out after the other.
Plan shrink(const Plan& plan);

// Names of rare paths that no run took.
std::vector<std::string_view> never_reached(const CampaignResult& result);

}  // namespace pgsteady::sim
