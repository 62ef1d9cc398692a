// A small campaign, each scenario, and that a seed always ends the same.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "sim/campaign.h"
#include "sim/rare_paths.h"

namespace pgsteady::sim {
namespace {

TEST(Simulation, ASmallCampaignFindsNothing) {
  CampaignOptions options;
  options.seeds = 100;
  auto result = run_campaign(options);
  for (const auto& failure : result.failures) {
    ADD_FAILURE() << "seed " << failure.seed << ": " << failure.violation
                  << "\n  replay: ./dev sim --seed " << failure.seed << " --trace";
  }
  EXPECT_GE(result.simulated / result.runs, seconds(600));
  EXPECT_GT(result.acknowledged, 10000U);
}

TEST(Simulation, NoRandomRunIsWithoutFaults) {
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    EXPECT_GE(random_plan(seed).steps.size(), 5U) << "seed " << seed;
  }
}

TEST(Simulation, TheSameSeedEndsInTheSameHash) {
  auto plan = random_plan(4711);
  auto first = run_plan(plan);
  EXPECT_EQ(first.hash, run_plan(plan, [](const std::string&) {}).hash) << "traced or not";
  plan.seed = 4712;
  EXPECT_NE(first.hash, run_plan(plan).hash);
}

TEST(Plan, ItsTextMakesTheSamePlan) {
  auto plan = random_plan(8);
  auto again = parse_plan(plan.text());
  ASSERT_TRUE(again);
  EXPECT_EQ(plan.text(), again->text());
  EXPECT_EQ(run_plan(plan).hash, run_plan(*again).hash);
}

TEST(Plan, SaysWhichLineItCannotRead) {
  auto plan = parse_plan("set ttl 5\nat noon cut pg1 pg2\n");
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().message.find("line 2"), std::string::npos);
}

Result<Plan> read_scenario(const std::string& name) {
  std::ifstream in(std::string(PGSTEADY_SCENARIOS) + "/" + name + ".scn");
  std::stringstream text;
  text << in.rdbuf();
  return parse_plan(text.str());
}

TEST(RarePaths, AreTakenByTheScenariosThatAreNamedForThem) {
  for (const auto& [path, scenario] : kPathsOfScenarios) {
    auto plan = read_scenario(scenario);
    ASSERT_TRUE(plan) << plan.error().text();
    EXPECT_TRUE(run_plan(*plan).reached.contains(path)) << scenario << " never reached: " << path;
  }
}

class Scenario : public testing::TestWithParam<std::string> {};

TEST_P(Scenario, EndsAsExpected) {
  auto plan = read_scenario(GetParam());
  ASSERT_TRUE(plan) << plan.error().text();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    plan->seed = seed;
    auto outcome = run_plan(*plan);
    ASSERT_TRUE(outcome.ok()) << "with seed " << seed << ": " << outcome.violations.front();
  }
}

std::vector<std::string> scenarios() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(PGSTEADY_SCENARIOS)) {
    if (entry.path().extension() == ".scn") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Sim, Scenario, testing::ValuesIn(scenarios()),
                         [](const auto& scenario) { return scenario.param; });

}  // namespace
}  // namespace pgsteady::sim
