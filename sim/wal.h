// The truth about everybody's WAL: a tree of branches, one for each initdb and each promotion. Two
// branches may carry the same timeline number, which no node can see.
#pragma once

#include <vector>

#include "base/types.h"
#include "cluster/view.h"

namespace pgsteady::sim {

// What a server has: a branch from its root up to `end`.
struct WalPoint {
  int branch = -1;
  Lsn end;
  bool operator==(const WalPoint&) const = default;
};

class WalTree {
 public:
  // A new cluster; `end` is where its WAL ends after initdb.
  WalPoint plant();
  WalPoint fork(const WalPoint& from, Timeline timeline);

  Timeline timeline(int branch) const { return at(branch).timeline; }
  SystemId system(int branch) const { return at(branch).system; }
  const std::vector<TimelineSwitch>& history(int branch) const { return at(branch).history; }
  // Everything of `part` is in `all`.
  bool contains(const WalPoint& all, const WalPoint& part) const;
  // The end of what both have.
  WalPoint common(const WalPoint& a, const WalPoint& b) const;

 private:
  struct Branch {
    Timeline timeline = 1;
    int parent = -1;
    Lsn fork;
    SystemId system;
    std::vector<TimelineSwitch> history;
  };
  const Branch& at(int branch) const { return branches_[static_cast<std::size_t>(branch)]; }

  std::vector<Branch> branches_;
};

}  // namespace pgsteady::sim
