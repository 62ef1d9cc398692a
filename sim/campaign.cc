#include "sim/campaign.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "sim/rare_paths.h"

namespace pgsteady::sim {
namespace {

class Campaign {
 public:
  explicit Campaign(const CampaignOptions& options) : options_(options) {}

  CampaignResult go() {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < options_.threads; ++i) threads.emplace_back([this] { work(); });
    for (auto& thread : threads) thread.join();
    std::sort(result_.failures.begin(), result_.failures.end(),
              [](const Failure& a, const Failure& b) { return a.seed < b.seed; });
    return std::move(result_);
  }

 private:
  void work() {
    for (;;) {
      auto index = next_++;
      if (index >= options_.seeds || failed_ >= options_.stop_after) return;
      auto plan = random_plan(options_.first_seed + index);
      plan.settings.mutation = options_.mutation;
      auto outcome = run_plan(plan);
      bool twice = options_.repeat_every > 0 && index % options_.repeat_every == 0;
      if (twice && run_plan(plan).hash != outcome.hash) {
        outcome.violations.emplace_back("the same seed ended in another hash");
      }
      add(plan.seed, outcome);
    }
  }

  void add(std::uint64_t seed, const Outcome& outcome) {
    std::lock_guard lock(mutex_);
    ++result_.runs;
    result_.events += outcome.events;
    result_.simulated += outcome.simulated;
    result_.acknowledged += outcome.acknowledged;
    result_.lost += outcome.lost;
    for (auto name : outcome.reached) ++result_.reached[name];
    if (outcome.ok()) return;
    ++failed_;
    result_.failures.push_back({seed, outcome.violations.front()});
  }

  const CampaignOptions& options_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<unsigned> failed_{0};
  std::mutex mutex_;
  CampaignResult result_;
};

}  // namespace

CampaignResult run_campaign(const CampaignOptions& options) {
  return Campaign(options).go();
}

Plan shrink(const Plan& plan) {
  auto smallest = plan;
  for (std::size_t i = 0; i < smallest.steps.size();) {
    auto smaller = smallest;
    smaller.steps.erase(smaller.steps.begin() + static_cast<std::ptrdiff_t>(i));
    if (run_plan(smaller).ok()) {
      ++i;
    } else {
      smallest = std::move(smaller);
    }
  }
  return smallest;
}

std::vector<std::string_view> never_reached(const CampaignResult& result) {
  std::vector<std::string_view> names;
  for (const char* name : kRarePaths) {
    if (!result.reached.count(name)) names.emplace_back(name);
  }
  return names;
}

}  // namespace pgsteady::sim
