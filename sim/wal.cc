#include "sim/wal.h"

#include <algorithm>

namespace pgsteady::sim {
namespace {

constexpr std::uint64_t kFirstSystem = 7'300'000'000'000'000'000;
constexpr Lsn kAfterInitdb{0x1500000};

}  // namespace

WalPoint WalTree::plant() {
  Branch branch;
  branch.system = SystemId{kFirstSystem + branches_.size()};
  branches_.push_back(branch);
  return {static_cast<int>(branches_.size()) - 1, kAfterInitdb};
}

WalPoint WalTree::fork(const WalPoint& from, Timeline timeline) {
  Branch branch;
  branch.timeline = timeline;
  branch.parent = from.branch;
  branch.fork = from.end;
  branch.system = at(from.branch).system;
  branch.history = at(from.branch).history;
  TimelineSwitch line;
  line.timeline = at(from.branch).timeline;
  line.end = from.end;
  line.reason = "no recovery target specified";
  branch.history.push_back(line);
  branches_.push_back(std::move(branch));
  return {static_cast<int>(branches_.size()) - 1, from.end};
}

bool WalTree::contains(const WalPoint& all, const WalPoint& part) const {
  if (part.branch < 0) return true;
  auto end = all.end;
  for (int branch = all.branch; branch >= 0; branch = at(branch).parent) {
    if (branch == part.branch) return part.end <= end;
    end = std::min(end, at(branch).fork);
  }
  return false;
}

WalPoint WalTree::common(const WalPoint& a, const WalPoint& b) const {
  auto a_end = a.end;
  for (int mine = a.branch; mine >= 0; mine = at(mine).parent) {
    auto b_end = b.end;
    for (int theirs = b.branch; theirs >= 0; theirs = at(theirs).parent) {
      if (mine == theirs) return {mine, std::min(a_end, b_end)};
      b_end = std::min(b_end, at(theirs).fork);
    }
    a_end = std::min(a_end, at(mine).fork);
  }
  return {};
}

}  // namespace pgsteady::sim
