// The rules, broken one at a time: each mutant must be killed by some seed or scenario, or the
// world and its checkers have a hole. A mutant works at the simulator's border (sim/mutation.h), or
// inside the rules where MUTANT(its name) stands (src/lease/mutant.h).
#pragma once

#include <string>
#include <vector>

#include "sim/mutation.h"

namespace pgsteady::sim {

struct Mutant {
  const char* name;
  const char* breaks;   // what it does instead of the rule
  const char* killers;  // tried first: scenarios and seeds, "gentle_restart 17"
  Mutation mutation{};
};

std::vector<Mutant> lease_mutants();     // who holds the lock, and until when
std::vector<Mutant> core_mutants();      // who takes it, and what is done to data
std::vector<Mutant> promise_mutants();   // failsafe mode and pauses
std::vector<Mutant> people_mutants();    // synchronous modes, requests by hand
std::vector<Mutant> schedule_mutants();  // switchovers for a later time
std::vector<Mutant> all_mutants();

// --- what most of them are made of ---------------------------------------------------------------

// Changes what decide() sees, or what came of it.
Mutation seeing(std::function<void(core::Observation& seen, core::State& state)> how);
Mutation deciding(std::function<void(const core::Observation& seen, const core::State& before,
                                     core::Decision& decided)>
                      how);
// Transactions of this kind no longer compare what they read.
Mutation uncompared(core::TxnKind kind);
// Leaves every action of one kind out.
template <typename Kind>
Mutation without() {
  Mutation mutation;
  mutation.before_action = [](const core::Action& action) {
    return !std::holds_alternative<Kind>(action);
  };
  return mutation;
}

}  // namespace pgsteady::sim
