#include "sim/mutants/mutants.h"

namespace pgsteady::sim {

std::vector<Mutant> all_mutants() {
  auto all = lease_mutants();
  for (auto& mutant : core_mutants()) all.push_back(std::move(mutant));
  for (auto& mutant : promise_mutants()) all.push_back(std::move(mutant));
  for (auto& mutant : people_mutants()) all.push_back(std::move(mutant));
  for (auto& mutant : schedule_mutants()) all.push_back(std::move(mutant));
  return all;
}

Mutation seeing(std::function<void(core::Observation& seen, core::State& state)> how) {
  Mutation mutation;
  mutation.before_decide = std::move(how);
  return mutation;
}

Mutation uncompared(core::TxnKind kind) {
  Mutation mutation;
  mutation.before_action = [kind](core::Action& action) {
    auto* transact = std::get_if<core::Transact>(&action);
    if (transact && transact->kind == kind) transact->txn.compares.clear();
    return true;
  };
  return mutation;
}

Mutation deciding(std::function<void(const core::Observation& seen, const core::State& before,
                                     core::Decision& decided)>
                      how) {
  Mutation mutation;
  mutation.after_decide = std::move(how);
  return mutation;
}

}  // namespace pgsteady::sim
