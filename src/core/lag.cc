// maximum_lag_on_failover: who lacks too much of what the last leader wrote is not promoted, as
// long as that may be found anywhere.
#include <set>

#include "core/turn.h"
#include "lease/mutant.h"

namespace pgsteady::core {
namespace {

constexpr auto kOptimePatience = seconds(10);  // a leader writes its position once a second

// The optime is the last leader's word about itself. One that it had the time to write and did not
// is an earlier leader's: of a cluster that was restored, say, and nobody may ever reach it. Under
// a key without a lease, which was put by hand, nobody led.
bool is_another_leaders(const Turn& turn) {
  if (turn.state.takeover.key().lease == 0) return false;
  const auto& served = turn.state.other_leader_served_since;
  const auto& gone = turn.state.takeover.gone_at();
  if (!served || turn.cluster().status_revision >= turn.state.takeover.key().mod_revision)
    return false;
  return (gone ? *gone : turn.now.boot) - *served > kOptimePatience;
}

// Everybody who may have led, or have got WAL from who did.
std::set<MemberName> could_have_more(const Turn& turn) {
  std::set<MemberName> names;
  const auto& cluster = turn.cluster();
  for (const auto& member : cluster.members) names.insert(member.name);
  if (cluster.failsafe) {
    for (const auto& [name, url] : *cluster.failsafe) names.insert(name);
  } else {
    for (const auto& line : cluster.history) names.insert(line.new_leader);
  }
  if (!turn.state.other_leader.empty()) names.insert(turn.state.other_leader);
  names.erase(turn.self.name);
  names.erase("");
  return names;
}

// They all answer, and none has more: what the optime tells of is nowhere any more, and waiting
// brings nothing back. A server's figures may be as old as its last look at itself.
bool rest_is_nowhere(const Turn& turn, const PeerRound& round, lease::Instant free_at) {
  const auto& cluster = turn.cluster();
  if (!cluster.failsafe && turn.state.other_leader.empty() && cluster.history.empty()) return false;
  bool measured_since = turn.now.boot - free_at > turn.settings().loop_wait + kMeasureSlack;
  auto missing = could_have_more(turn);
  for (const auto& peer : round.peers) {
    bool told =
        peer.answered && peer.running &&
        (peer.leaderless_revision >= turn.state.takeover.key().mod_revision || measured_since);
    if (told && !is_ahead(peer, turn.seen.server)) missing.erase(peer.name);
  }
  return missing.empty();
}

}  // namespace

bool too_far_behind(Turn& turn, const PeerRound& round, lease::Instant free_at) {
  const auto& status = turn.cluster().status;
  if (!status) return false;
  auto lag = status->optime - turn.seen.server.last_lsn();
  auto limit = turn.settings().maximum_lag_on_failover_bytes;
  if (lag <= limit || MUTANT(lag_ignored)) return false;
  auto figures = fmt::format("{} bytes behind, maximum_lag_on_failover is {}", lag, limit);
  const char* moot = is_another_leaders(turn) ? "the last leader never wrote that position"
                     : rest_is_nowhere(turn, round, free_at)
                         ? "everybody who could have more answers, and nobody has"
                         : nullptr;
  turn.say(Reason::Level::warning,
           moot ? figures + "; passed over: " + moot
                : figures + "\nhint: if the rest is lost for good, force a failover");
  return moot == nullptr;
}

}  // namespace pgsteady::core
