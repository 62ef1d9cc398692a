#include "chaos/round.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace pgsteady::chaos {
namespace {

constexpr Millis kConverge{90000};
// An acknowledged commit may not have left the primary yet when a fault comes.
constexpr Millis kOnItsWay{1000};

struct Made {
  bool may_lose = false, may_stale = false;
  std::string text;
};

void let_pass(Millis time) {
  testing::eventually(time, [] { return false; });
}

const FaultKind& draw(Dice& dice) {
  static const std::vector<FaultKind> kinds = [] {
    auto all = network_faults();
    for (auto& kind : process_faults()) all.push_back(std::move(kind));
    for (auto& kind : etcd_faults()) all.push_back(std::move(kind));
    for (auto& kind : disk_faults()) all.push_back(std::move(kind));
    for (auto& kind : clock_faults()) all.push_back(std::move(kind));
    return all;
  }();
  std::vector<int> weights;
  std::transform(kinds.begin(), kinds.end(), std::back_inserter(weights),
                 [](const FaultKind& kind) { return kind.weight; });
  return kinds[std::discrete_distribution<std::size_t>(weights.begin(),
                                                       weights.end())(dice.engine())];
}

Fault make(World& world, Dice& dice, Made& made) {
  const FaultKind& kind = draw(dice);
  Dice own(dice.engine()());  // how many it throws may depend on what it finds
  auto fault = kind.make(world, own);
  made.may_lose = made.may_lose || kind.may_lose;
  made.may_stale = made.may_stale || kind.may_stale;
  made.text += fault.what;
  return fault;
}

void wait(Dice& dice, int low_ms, int high_ms, Made& made) {
  const Millis time(dice.between(low_ms, high_ms));
  made.text += fmt::format(", {:.1f} s", static_cast<double>(time.count()) / 1000);
  let_pass(time);
}

// One fault, or two of which the first may end before the second.
Made make_faults(World& world, Dice& dice) {
  Made made;
  auto first = make(world, dice, made);
  if (dice.chance(0.5)) {
    wait(dice, 0, 6000, made);
    made.text += "; ";
    make(world, dice, made);
    if (dice.chance(0.3)) {
      wait(dice, 0, 8000, made);
      first.undo();
      made.text += ", the first undone";
    }
  }
  wait(dice, 500, 14000, made);
  world.heal(dice);
  return made;
}

void check_rows(World& world, const Made& made, Clock::time_point began, bool led_throughout,
                bool synchronous, Ledger& ledger, Verdict& verdict) {
  auto account = world.writer().account();
  if (!account) return verdict.failures.push_back("the primary cannot be asked for its rows");
  if (!account->doubled.empty()) {
    verdict.failures.push_back(fmt::format("{} rows are there twice", account->doubled.size()));
  }
  std::size_t forbidden = 0;
  for (const auto& ack : account->lost) {
    if (!ledger.lost.insert(ack.number).second) continue;
    ++verdict.lost;
    if (synchronous || !made.may_lose || led_throughout || ack.at < began - kOnItsWay) ++forbidden;
  }
  if (forbidden > 0) {
    verdict.failures.push_back(fmt::format(
        "{} acknowledged writes are lost that must not be, of {}", forbidden, verdict.lost));
  }
}

void check_splits(World& world, const Made& made, Ledger& ledger, Verdict& verdict) {
  const auto stale = world.watcher().stale_acks();
  verdict.stale = stale - ledger.stale;
  ledger.stale = stale;
  for (const auto& split : world.watcher().splits()) {
    const bool known = !ledger.splits.insert(split).second;
    const bool one_timeline = split.find("both") != std::string::npos;
    if (!known && (!made.may_stale || one_timeline)) verdict.failures.push_back(split);
  }
}

std::string primary_of(World& world) {
  Node* node = world.cluster().primary();
  return node ? node->name : "none";
}

}  // namespace

Verdict play_round(World& world, Dice dice, Ledger& ledger, bool synchronous) {
  Verdict verdict;
  world.begin_round();
  world.set_synchronous(synchronous);
  verdict.primary_before = world.nodes().front()->name;
  const auto timeline = world.timeline();
  const auto began = Clock::now();
  const Made made = make_faults(world, dice);
  verdict.faults = made.text;
  const auto healed = Clock::now();
  if (!world.converges(kConverge)) verdict.failures.emplace_back("it does not heal");
  verdict.healing = std::chrono::duration_cast<Millis>(Clock::now() - healed);
  verdict.outage = world.writer().outage_since(began);
  verdict.primary_after = primary_of(world);
  const bool led_throughout = timeline != 0 && world.timeline() == timeline;
  check_rows(world, made, began, led_throughout, synchronous, ledger, verdict);
  check_splits(world, made, ledger, verdict);
  return verdict;
}

}  // namespace pgsteady::chaos
