// SIGTERM: hand over and go.
#include "core/turn.h"
#include "lease/mutant.h"

namespace pgsteady::core {
namespace {

bool stop_server(Turn& turn) {
  if (!turn.process_exists()) return false;
  if (turn.busy() || turn.seen.guard.phase != ServerPhase::running) return true;
  bool leads = turn.state.lock && turn.is_primary();
  if (leads) {
    // In a pause nobody takes over.
    const auto& name = turn.state.successor = turn.paused() ? "" : best_successor(turn);
    turn.say(fmt::format("stopping; handing the leadership over to {}",
                         name.empty() ? "whoever is healthiest" : name.c_str()));
  }
  auto left = *turn.seen.stop_by - turn.now.boot;
  turn.act(StopServer{StopServer::Mode::fast, leads,
                      std::max<lease::Duration>(left - seconds(1), milliseconds(200))});
  return true;
}

}  // namespace

bool rule_stop_requested(Turn& turn) {
  if (!turn.seen.stop_by) return false;
  turn.wake_in(milliseconds(100));
  if (turn.seen.job && *turn.seen.job != JobKind::stop) {
    turn.act(CancelJob{});
    if (*turn.seen.job == JobKind::clone || *turn.seen.job == JobKind::initdb ||
        *turn.seen.job == JobKind::rewind) {
      return true;
    }
  }
  if (stop_server(turn) && !MUTANT(released_before_stop)) return true;
  bool can_write =
      turn.seen.dcs.reachable && turn.now.boot < *turn.seen.stop_by - milliseconds(300);
  if (turn.state.lock && can_write) {
    release_when_down(turn);
    return true;
  }
  if (can_write && turn.state.name_is_ours && !rule_fence_on(turn)) return true;
  // The member key goes with the lease.
  if (turn.seen.lease_request) return true;
  if (turn.seen.lease.lease != 0 && can_write) {
    turn.act(DropLease{true});
    return true;
  }
  turn.act(Finish{0, "stopped"});
  return true;
}

}  // namespace pgsteady::core
