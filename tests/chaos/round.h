// One round: a fault or two, healing, and the verdict.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "chaos/fault.h"

namespace pgsteady::chaos {

struct Verdict {
  std::string faults;                 // what was done
  std::vector<std::string> failures;  // empty: all is well
  Millis outage{};                    // the longest time without a write
  Millis healing{};                   // from the last fault's end until all was whole again
  std::string primary_before, primary_after;
  std::size_t lost = 0;   // acknowledged, gone, and not promised
  std::size_t stale = 0;  // acknowledged by an old primary, and not promised
};

// What earlier rounds have counted already.
struct Ledger {
  std::set<std::int64_t> lost;
  std::set<std::string> splits;
  std::size_t stale = 0;
};

// Throws std::runtime_error when the world itself cannot go on. `synchronous`: in that mode, in
// which nothing may be lost.
Verdict play_round(World& world, Dice dice, Ledger& ledger, bool synchronous);

}  // namespace pgsteady::chaos
