#include "sim/mutants/hunt.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "lease/mutant.h"
#include "sim/run.h"

namespace pgsteady::sim {
namespace {

std::string scenario_text(const std::string& name) {
  std::ifstream in(std::string(PGSTEADY_SCENARIOS) + "/" + name + ".scn");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> scenario_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(PGSTEADY_SCENARIOS)) {
    if (entry.path().extension() == ".scn") names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// "seed 17": a random plan; "cut_from_etcd 3": a scenario with that seed for its world.
struct Trial {
  std::string where;
  std::uint64_t seed = 1;

  std::string text() const { return where + " " + std::to_string(seed); }
  Plan plan() const {
    if (where == "seed") return random_plan(seed);
    auto plan = parse_plan(scenario_text(where));
    if (!plan) return {};
    plan->seed = seed;
    return *plan;
  }
};

std::vector<Trial> expected(const Mutant& mutant) {
  std::vector<Trial> trials;
  std::istringstream in(mutant.killers);
  for (Trial trial; in >> trial.where >> trial.seed;) trials.push_back(trial);
  return trials;
}

std::vector<Trial> search(const HuntOptions& options) {
  std::vector<Trial> trials;
  auto names = options.random_only ? std::vector<std::string>() : scenario_names();
  for (std::uint64_t seed = 1; seed <= options.scenario_seeds; ++seed) {
    for (const auto& name : names) trials.push_back({name, seed});
  }
  for (std::uint64_t seed = 1; seed <= options.seeds; ++seed) trials.push_back({"seed", seed});
  return trials;
}

class Hunt {
 public:
  Hunt(const std::vector<Mutant>& mutants, const HuntOptions& options,
       const std::function<void(const Kill&)>& done)
      : mutants_(mutants), options_(options), done_(done), kills_(mutants.size()) {}

  std::vector<Kill> go() {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < options_.threads; ++i) threads.emplace_back([this] { work(); });
    for (auto& thread : threads) thread.join();
    return std::move(kills_);
  }

 private:
  void work() {
    for (auto index = next_++; index < mutants_.size(); index = next_++) {
      kills_[index] = hunt_down(mutants_[index]);
      std::lock_guard lock(mutex_);
      done_(kills_[index]);
    }
  }

  Kill hunt_down(const Mutant& mutant) {
    Kill kill;
    kill.name = mutant.name;
    auto trials = options_.random_only ? std::vector<Trial>() : expected(mutant);
    auto others = search(options_);
    trials.insert(trials.end(), others.begin(), others.end());
    for (const auto& trial : trials) {
      ++kill.runs;
      auto violation = run(trial, &mutant);
      if (violation.empty() || !passes_unmutated(trial)) continue;
      kill.by = trial.text();
      kill.violation = violation;
      return kill;
    }
    return kill;
  }

  // The violation; empty: none.
  static std::string run(const Trial& trial, const Mutant* mutant) {
    auto plan = trial.plan();
    if (mutant) plan.settings.mutation = &mutant->mutation;
    lease::present_mutant = mutant ? mutant->name : "";
    auto outcome = run_plan(plan);
    lease::present_mutant = "";
    return outcome.ok() ? "" : outcome.violations.front();
  }

  bool passes_unmutated(const Trial& trial) {
    auto text = trial.text();
    {
      std::lock_guard lock(mutex_);
      auto known = sound_.find(text);
      if (known != sound_.end()) return known->second;
    }
    auto violation = run(trial, nullptr);
    std::lock_guard lock(mutex_);
    if (!violation.empty()) fmt::print("fails unmutated: {}: {}\n", text, violation);
    return sound_[text] = violation.empty();
  }

  const std::vector<Mutant>& mutants_;
  const HuntOptions& options_;
  const std::function<void(const Kill&)>& done_;
  std::vector<Kill> kills_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::map<std::string, bool> sound_;  // trial → it passes unmutated
};

}  // namespace

std::vector<Kill> hunt(const std::vector<Mutant>& mutants, const HuntOptions& options,
                       const std::function<void(const Kill&)>& done) {
  return Hunt(mutants, options, done).go();
}

}  // namespace pgsteady::sim
