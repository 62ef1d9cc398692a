// From whom a replica streams and clones, as the tags of the members ask for it.
#include <set>

#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kCascadeAgain = std::chrono::minutes(5);  // after its upstream gave it nothing

// A replica that itself receives WAL, on the leader's timeline.
bool feeds(const Turn& turn, const Member& member) {
  const auto* leader = turn.cluster().member(turn.cluster().leader->name);
  return member.state == "running" && member.role != "primary" && !member.tags.nostream() &&
         member.replication_state == "streaming" && leader && member.timeline == leader->timeline;
}

}  // namespace

// Following the tags from there leads back to `member`, or in a circle. The leader ends the chain.
bool leads_back(const Turn& turn, const MemberName& member, const MemberName& from) {
  std::set<MemberName> met = {member};
  for (auto name = from; !name.empty() && name != turn.cluster().leader->name;) {
    if (!met.insert(name).second) return true;
    const auto* next = turn.cluster().member(name);
    name = next ? next->tags.replicatefrom() : MemberName();
  }
  return false;
}

std::optional<UpstreamMember> address_of(const Turn& turn, const MemberName& name) {
  const auto* member = turn.cluster().member(name);
  if (!member) return std::nullopt;
  auto address = host_port_of_url(member->conn_url);
  if (!address) return std::nullopt;
  if (address->port == 0) address->port = 5432;
  return UpstreamMember{member->name, *address, name == slot_keeper(turn, turn.self.tags)};
}

std::optional<UpstreamMember> upstream_of_leader(const Turn& turn) {
  const auto& leader = turn.cluster().leader;
  return leader ? address_of(turn, leader->name) : std::nullopt;
}

// nullopt: a node that streams from nobody. The leader, unless the tag names another member that
// is up and has given this node something lately.
std::optional<UpstreamMember> upstream_for_streaming(Turn& turn, const UpstreamMember& leader) {
  if (turn.self.tags.nostream()) return std::nullopt;
  const auto name = turn.self.tags.replicatefrom();
  if (name.empty() || name == leader.name || leads_back(turn, turn.self.name, name)) return leader;
  if (turn.state.cascade_failed_at &&
      turn.now.boot < *turn.state.cascade_failed_at + kCascadeAgain) {
    return leader;
  }
  const auto* member = turn.cluster().member(name);
  auto found = member && feeds(turn, *member) ? address_of(turn, name) : std::nullopt;
  return found ? *found : leader;
}

// A replica that offers itself with the tag clonefrom spares the leader the work; after a failure
// it is the leader again. So it is for who lost its disk and is still counted on for commits: a
// replica may lack some of those.
UpstreamMember source_for_cloning(const Turn& turn, const UpstreamMember& leader) {
  if (turn.state.clone.failures > 0 || is_in_sync(turn)) return leader;
  for (const auto& member : turn.cluster().members) {
    if (member.name == turn.self.name || !member.tags.clonefrom() || !feeds(turn, member)) continue;
    if (auto found = address_of(turn, member.name)) return *found;
  }
  return leader;
}

}  // namespace pgsteady::core
