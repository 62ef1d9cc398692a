#include "sim/pause_checker.h"

#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

// By whoever was passed over: until it is over, and that is noticed.
constexpr Duration kPauseLasts = std::chrono::minutes(10);

// What an action does to a server by itself; nullptr: nothing.
const char* what_it_does(const core::Action& action) {
  if (std::holds_alternative<core::Promote>(action)) return "promotes";
  if (std::holds_alternative<core::StartServer>(action)) return "starts its server";
  if (std::holds_alternative<core::StopServer>(action)) return "stops its server";
  if (std::holds_alternative<core::Fence>(action)) return "fences its server";
  if (std::holds_alternative<core::Rewind>(action)) return "rewinds";
  if (std::holds_alternative<core::Clone>(action)) return "clones";
  if (std::holds_alternative<core::RunInitdb>(action)) return "makes a new cluster";
  return nullptr;
}

// Asked for by hand: a restart, a reinitialization, a hand-over, the agent's end.
bool asked_for(const core::State& state, const core::Observation& seen) {
  return seen.stop_by || state.restart || state.reinitialize || state.returning ||
         state.handing_over;
}

// Not core::takes_lock: who has led already may take its key back, or put it on another lease.
bool races_for_lock(const core::Action& action) {
  const auto* transact = std::get_if<core::Transact>(&action);
  return transact && transact->kind == core::TxnKind::acquire;
}

}  // namespace

bool PauseChecker::paused() {
  const auto* config = cluster_.etcd.find("config");
  if (!config) return false;
  if (config->mod_revision != revision_) {
    revision_ = config->mod_revision;
    paused_ = cluster_.etcd.settings().pause;
  }
  return paused_;
}

// It has read of the pause that there is, or was started beside a guardian that knows.
bool PauseChecker::knows(const core::Observation& seen) {
  if (!paused()) return false;
  if (!seen.dcs.read_at) return seen.guard.suspended;
  return seen.dcs.cluster.revision >= revision_;
}

void PauseChecker::decided(Place place, const core::Observation& seen,
                           const core::Decision& decision) {
  if (decision.actions.empty() || !knows(seen)) return;
  const auto& name = cluster_.host(place).name();
  const auto* failover = cluster_.etcd.find("failover");
  bool named = failover && failover->value.find('"' + name + '"') != std::string::npos;
  if (named || asked_for(decision.state, seen)) return;
  bool serves = seen.server.is_primary();
  for (const auto& action : decision.actions) {
    const char* does = what_it_does(action);
    if (races_for_lock(action) && !serves) does = "takes the lock";
    if (does) cluster_.world.violation(fmt::format("{} {} in a pause", name, does));
  }
}

bool PauseChecker::writes_unfenced(Place place) {
  auto& host = cluster_.host(place);
  const auto* guardian = host.guardian();
  return guardian && guardian->suspended() && host.server().could_acknowledge();
}

// It says that it is fenced again, and is not. Whoever takes the lock by force says so of others on
// an operator's word; when that is wrong, they are beyond our promises until the fence is on again.
void PauseChecker::committing(Place from, const Txn& txn) {
  for (Place place = 0; place < cluster_.nodes(); ++place) {
    auto& host = cluster_.host(place);
    bool says_so =
        std::any_of(txn.operations.begin(), txn.operations.end(), [&](const Operation& operation) {
          return operation.what == Operation::What::remove &&
                 operation.key == "unfenced/" + host.name();
        });
    if (!says_so) continue;
    if (place != from) {
      host.excuse(kPauseLasts);
    } else if (writes_unfenced(place)) {
      cluster_.world.violation(host.name() + " is said to be fenced while its fence is off");
    }
  }
}

void PauseChecker::acknowledged(Place place) {
  auto& host = cluster_.host(place);
  const auto* guardian = host.guardian();
  if (!guardian || !guardian->suspended()) return;
  if (guardian->armed() && host.now() >= guardian->deadline()) {
    cluster_.world.reached("a primary outlived its deadline in a pause");
  }
  if (cluster_.etcd.find("unfenced/" + host.name())) return;
  cluster_.world.violation(host.name() + " writes with its fence off, and etcd does not say so");
}

}  // namespace pgsteady::sim
