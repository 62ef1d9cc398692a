// pgsteady_sim: a campaign over seeds, one seed, or a scenario from a file.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include "sim/campaign.h"

namespace {

using namespace pgsteady::sim;

// With so many seeds each rare path is taken; one that is not has been lost.
constexpr std::uint64_t kSeedsThatReachAll = 1000;

struct Arguments {
  std::uint64_t seeds = 100;
  std::uint64_t first = 1;
  std::uint64_t seed = 0;
  std::string scenario;
  bool trace = false;
  bool plan = false;
  unsigned threads = std::max(1U, std::thread::hardware_concurrency());
};

void print_line(const std::string& line) {
  std::puts(line.c_str());
}

std::string command_for(std::uint64_t seed) {
  return fmt::format("./dev sim --seed {} --trace", seed);
}

int report(const Plan& plan, const Outcome& outcome) {
  for (const auto& violation : outcome.violations) fmt::print("VIOLATED {}\n", violation);
  fmt::print("{}: {:.0f} s simulated, {} events, {} commits acknowledged, {} lost, hash {:016x}\n",
             outcome.ok() ? "ok" : "failed",
             std::chrono::duration<double>(outcome.simulated).count(), outcome.events,
             outcome.acknowledged, outcome.lost, outcome.hash);
  if (outcome.ok()) return 0;
  fmt::print("the steps that are needed for it:\n{}", shrink(plan).text());
  return 1;
}

int run_one(const Plan& plan, const Arguments& arguments) {
  if (arguments.plan) fmt::print("{}", plan.text());
  auto outcome = arguments.trace ? run_plan(plan, print_line) : run_plan(plan);
  return report(plan, outcome);
}

std::string path_of_scenario(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  auto file = name.ends_with(".scn") ? name : name + ".scn";
  return std::string(PGSTEADY_SCENARIOS) + "/" + file;
}

int run_scenario(const Arguments& arguments) {
  std::ifstream in(path_of_scenario(arguments.scenario));
  if (!in) {
    fmt::print(stderr, "cannot read {}\n", path_of_scenario(arguments.scenario));
    return 2;
  }
  std::stringstream text;
  text << in.rdbuf();
  auto plan = parse_plan(text.str());
  if (!plan) {
    fmt::print(stderr, "{}: {}\n", arguments.scenario, plan.error().text());
    return 2;
  }
  return run_one(*plan, arguments);
}

int run_seeds(const Arguments& arguments) {
  CampaignOptions options;
  options.first_seed = arguments.first;
  options.seeds = arguments.seeds;
  options.threads = arguments.threads;
  auto began = std::chrono::steady_clock::now();
  auto result = run_campaign(options);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  auto hours = std::chrono::duration<double, std::ratio<3600>>(result.simulated).count();
  fmt::print(
      "{} seeds, {:.1f} simulated hours, {:.1f} million events in {:.1f} s; {} commits "
      "acknowledged, {} lost where that may be\n",
      result.runs, hours, static_cast<double>(result.events) / 1e6, took.count(),
      result.acknowledged, result.lost);
  const auto unreached = never_reached(result);
  for (auto name : unreached) fmt::print("never reached: {}\n", name);
  for (const auto& failure : result.failures) {
    fmt::print("seed {} failed {}\n  replay: {}\n", failure.seed, failure.violation,
               command_for(failure.seed));
  }
  const bool too_few = result.runs >= kSeedsThatReachAll && !unreached.empty();
  return result.failures.empty() && !too_few ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("pgsteady's rules in a simulated world");
  app.add_option("--seeds", arguments.seeds,
                 "how many seeds to run; 1000 and more fail when they never take a rare path");
  app.add_option("--first", arguments.first, "the first of them");
  app.add_option("--seed", arguments.seed, "run this seed alone");
  app.add_option("--scenario", arguments.scenario,
                 "run a scenario: a name in sim/scenarios, or a file");
  app.add_flag("--trace", arguments.trace, "one line for each transition");
  app.add_flag("--plan", arguments.plan, "print the steps first");
  app.add_option("--threads", arguments.threads, "worlds at a time");
  CLI11_PARSE(app, argc, argv);
  if (!arguments.scenario.empty()) return run_scenario(arguments);
  if (arguments.seed != 0) return run_one(random_plan(arguments.seed), arguments);
  return run_seeds(arguments);
}
