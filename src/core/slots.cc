// Physical replication slots: they keep the WAL that a member needs while it is away.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kSlotKept = std::chrono::minutes(30);  // after its member was last seen

bool needs_slot_here(const Turn& turn, const Member& member) {
  const auto& self = turn.self.name;
  if (member.name == self || member.name == turn.cluster().leader->name) return false;
  if (turn.self.tags.nostream() && !turn.is_primary()) return false;  // nobody streams from here
  return !member.tags.nostream() && slot_keeper(turn, member.tags) == self &&
         !leads_back(turn, member.name, self);
}

std::vector<MemberName> wanted_slots(Turn& turn) {
  auto& kept = turn.state.slot_members;
  for (const auto& member : turn.cluster().members) {
    kept.erase(member.name);
    if (needs_slot_here(turn, member)) kept[member.name] = turn.now.boot;
  }
  std::erase_if(kept, [&](const auto& entry) { return turn.now.boot - entry.second > kSlotKept; });
  std::vector<MemberName> wanted;
  if (!turn.settings().use_slots) return wanted;
  for (const auto& [name, seen] : kept) wanted.push_back(name);
  return wanted;
}

// A new agent has not seen those who are away.
bool knows_the_absent(const Turn& turn) {
  return turn.now.boot - turn.state.began_at >= kSlotKept;
}

// A leader's slots, left as they are, would hold back a standby's WAL.
void notice_role(Turn& turn) {
  auto& state = turn.state;
  bool leads = turn.is_primary();
  if (state.old_slots_dropped != leads) return;
  state.old_slots_dropped = !leads;
  if (!leads) state.slot_members.clear();
  state.synced_slots.clear();
  state.slots_synced_at = {};
}

}  // namespace

// Who keeps the slot of a member with these tags: the one that it is told to stream from, and the
// leader when there is none of that name. Patroni's rule, for clusters that are half Patroni. While
// the one it is told is of no use, it streams from the leader without a slot.
MemberName slot_keeper(const Turn& turn, const Tags& tags) {
  auto name = tags.replicatefrom();
  return turn.cluster().member(name) ? name : turn.cluster().leader->name;
}

void duty_slots(Turn& turn) {
  if (!turn.fresh() || !turn.cluster().leader) return;
  notice_role(turn);
  auto& state = turn.state;
  auto wanted = wanted_slots(turn);
  auto age = turn.now.boot - state.slots_synced_at;
  const auto& slots = turn.seen.server.slots;
  bool lost =
      std::any_of(slots.begin(), slots.end(), [](const SlotRow& slot) { return slot.lost; });
  bool again = age >= (lost ? seconds(5) : seconds(60));
  bool failed = state.synced_slots.empty() && !wanted.empty() && age < seconds(1);
  if (failed || (wanted == state.synced_slots && !again)) return;
  state.synced_slots = wanted;
  state.slots_synced_at = turn.now.boot;
  turn.act(SyncSlots{wanted, !turn.is_primary() || knows_the_absent(turn)});
}

}  // namespace pgsteady::core
