// Another living node of this node's name, or data of another cluster: then this one does not
// start.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

// The server of such a node may serve reads already, when etcd could not be asked at first.
void end_agent(Turn& turn, const std::string& text) {
  turn.say(Reason::Level::critical, text);
  if (!turn.process_exists()) return turn.act(Finish{1, text});
  if (!turn.busy()) turn.act(StopServer{StopServer::Mode::fast, false, seconds(5)});
}

}  // namespace

std::optional<SystemId> own_system_id(const Turn& turn) {
  const auto& server = turn.seen.server;
  if (server.control) return server.control->system_id;
  return turn.server_running() && server.system_id.value ? std::optional(server.system_id)
                                                         : std::nullopt;
}

bool rule_foreign_system(Turn& turn) {
  auto ours = own_system_id(turn);
  auto theirs = turn.cluster().system_id();
  if (!ours || !theirs || *ours == *theirs || turn.seen.interrupted_job) return false;
  end_agent(turn,
            fmt::format("system ID mismatch, node {} belongs to a different cluster: {} != {}",
                        turn.self.name, theirs->text(), ours->text()));
  return true;
}

// Locks, promises and votes go by names. Asked before anything is written in this one's, once in an
// agent's life, at the address that etcd has; a node that asks itself knows its own answer. Not by
// an agent that finds its server armed: that one wrote under this name.
bool rule_twin(Turn& turn) {
  auto& state = turn.state;
  if (turn.seen.guard.armed.valid()) state.name_is_ours = true;
  if (state.name_is_ours || turn.seen.stop_by || !turn.seen.dcs.reachable) return false;
  const auto* member = turn.cluster().member(turn.self.name);
  if (turn.fresh() && (!member || member->api_url.empty())) {
    state.name_is_ours = true;
    return false;
  }
  if (!turn.fresh()) {
    // Somebody was faster with that key: what it says now is read first.
  } else if (!std::exchange(state.twin_asked, true)) {
    turn.act(AskTwin{member->api_url});
  } else if (turn.seen.name_taken == false) {
    state.name_is_ours = true;
    return false;
  } else if (turn.seen.name_taken) {
    end_agent(turn, fmt::format("Can't start; there is already a node named '{}' running\n"
                                "hint: it answers at {}; give this node another name",
                                turn.self.name, member->api_url));
  }
  const auto& requests = turn.seen.requests;
  state.held_requests.insert(state.held_requests.end(), requests.begin(), requests.end());
  return true;
}

}  // namespace pgsteady::core
