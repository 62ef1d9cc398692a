// Nobody leads: who may take the lock, and when.
#include "core/turn.h"
#include "lease/mutant.h"

namespace pgsteady::core {
namespace {

// Whom the failover key names for now: the leader before on its way out, or an operator.
const FailoverRequest* preference(const Turn& turn) {
  const auto& failover = turn.cluster().failover;
  bool names = failover && failover->scheduled_at.empty() && !failover->candidate.empty();
  return names ? &*failover : nullptr;
}

// The newest that anybody has made or reserved.
Timeline newest_timeline(const Turn& turn) {
  const auto& cluster = turn.cluster();
  Timeline newest = cluster.history.empty() ? 1 : cluster.history.back().timeline + 1;
  for (const auto& member : cluster.members) newest = std::max(newest, member.timeline);
  return std::max(newest, cluster.reserved_timeline);
}

}  // namespace

bool is_ahead(const PeerFigure& peer, const LocalServer& server) {
  if (MUTANT(lsns_compared_as_text)) return peer.lsn.text() > server.last_lsn().text();
  if (MUTANT(timelines_not_compared)) return peer.lsn > server.last_lsn();
  return std::pair(peer.timeline, peer.lsn) > std::pair(server.timeline, server.last_lsn());
}

bool is_named(const Turn& turn) {
  const auto* wanted = preference(turn);
  return wanted && wanted->candidate == turn.self.name;
}

// Stopped as a primary, and to be started as one again: no timeline is made.
bool starts_as_primary(const Turn& turn) {
  const auto& server = turn.seen.server;
  return server.control && server.control->was_primary() && !server.standby_signal;
}

// Two nodes that each made the same timeline could stream from each other, and never notice. A
// leader may have made one of which nobody has heard, or make it when its host resumes, before its
// guardian comes to kill it. So its number stands in etcd from the moment it gets the lock.
void reserve_timeline(Turn& turn, Txn& txn) {
  auto& state = turn.state;
  state.asked_timeline = state.reserved_timeline = 0;
  bool promotes = turn.process_exists() ? turn.is_standby() : !starts_as_primary(turn);
  if (!promotes) return;
  state.asked_timeline = newest_timeline(turn) + 1;
  txn.compares.push_back(Compare::unchanged("timeline", turn.cluster().reserved_revision));
  txn.operations.push_back(Operation::put("timeline", std::to_string(state.asked_timeline)));
}

void acquire(Turn& turn) {
  if (turn.seen.lease.lease == 0 || !turn.may_transact(TxnKind::acquire)) return;
  const auto& leader = turn.cluster().leader;  // there: its lease is over, etcd has not noticed yet
  Txn txn;
  // Who is in the list has been asked by a leader that lives on promises; so it may not change. Nor
  // may a primary have switched its fence off since.
  txn.compares = {
      leader ? Compare::unchanged("leader", leader->mod_revision) : Compare::absent("leader"),
      Compare::unchanged("failsafe", turn.cluster().failsafe_revision),
      Compare::none_newer("unfenced/", turn.cluster().revision)};
  txn.operations = {Operation::put("leader", turn.self.name, turn.seen.lease.lease),
                    Operation::remove("release")};
  // Only an operator's word passes over a node that may be a primary with its fence off.
  for (const auto& [name, revision] : turn.cluster().unfenced) {
    if (name != turn.self.name) txn.operations.push_back(Operation::remove("unfenced/" + name));
  }
  reserve_timeline(turn, txn);
  turn.transact(TxnKind::acquire, std::move(txn));
}

namespace {

constexpr auto kCandidateHeadStart = seconds(2);        // for whom the failover key names
constexpr auto kPatienceWithPeers = milliseconds(500);  // for those that have not measured yet
constexpr auto kPatienceWithStarters = seconds(2);      // for those whose server is coming up
constexpr auto kPatienceWithReplay = seconds(60);
constexpr auto kPatienceWithReload = seconds(10);
constexpr auto kAskNext = milliseconds(20);

void step_back(Turn& turn, std::string why) {
  turn.say(fmt::format("following a different leader because {}", why));
  turn.wake_in(milliseconds(100));
}

std::vector<MemberName> other_members(const Turn& turn) {
  std::vector<MemberName> names;
  for (const auto& member : turn.cluster().members) {
    if (member.name != turn.self.name) names.push_back(member.name);
  }
  return names;
}

// From when on the lock may be taken, and since when nobody held it: the lease's story, and this
// node's own word.
lease::Instant free_at(const Turn& turn) {
  return std::max(*turn.state.takeover.safe_at(), bound_until(turn));
}
lease::Instant over_at(const Turn& turn) {
  return std::max(*turn.state.takeover.over_at(), bound_until(turn));
}

// This node's own figure stands: measured after the key was gone, with the WAL receiver ended.
bool own_figure_final(Turn& turn) {
  const auto& server = turn.seen.server;
  auto over = over_at(turn);
  // WAL that is still being replayed counts; a paused replay does not block for ever.
  bool replaying = server.replaying && turn.now.boot < over + kPatienceWithReplay;
  bool from_before = lease::Instant(server.measured_at) < over;
  if (MUTANT(any_figures)) return true;
  if (from_before || replaying) {
    turn.wake_in(milliseconds(20));
    turn.out.measure_now = true;
    return false;
  }
  // A receiver that only pauses between two attempts would bring WAL after the figure was shown.
  auto& cut_since = turn.state.cut_since;
  if (server.receiver_state.empty() && server.upstream.empty()) {
    cut_since.reset();
    return true;
  }
  if (MUTANT(receiver_still_runs)) return true;
  if (!cut_since || *cut_since < over) cut_since = turn.now.boot;  // in this race
  if (turn.now.boot >= *cut_since + kPatienceWithReload && server.receiver_state != "streaming") {
    turn.say(
        Reason::Level::error,
        "PostgreSQL does not take its configuration, and goes on looking for its old upstream\n"
        "hint: its log says which setting it refuses");
    return true;
  }
  turn.wake_in(milliseconds(20));
  turn.out.measure_now = true;
  if (!turn.busy() && !server.upstream.empty()) {
    turn.state.upstream.reset();
    turn.act(Reconfigure{std::nullopt});
  }
  return false;
}

// This node has everything that the primary which released the lock ever wrote.
bool has_all_of(const ReleaseNote& release, const LocalServer& server) {
  return release.end.value != 0 && server.timeline == release.timeline &&
         server.last_lsn() > release.end;
}

// The release names us, and nothing is missing.
bool chosen_successor(const Turn& turn) {
  const auto* release = turn.release();
  return release && is_named(turn) && turn.cluster().failover->leader == release->leader &&
         (has_all_of(*release, turn.seen.server) || MUTANT(successor_not_checked));
}

bool forced(const Turn& turn) {
  return is_named(turn) && turn.cluster().failover->force;
}

// The primary that released the lock says where its WAL ends, and ours ends before. All nodes were
// stopped together, say: whoever has the rest gets as long to come back as a primary gets to start.
bool wait_for_released_wal(Turn& turn) {
  const auto* release = turn.release();
  const auto& server = turn.seen.server;
  if (!release || release->end.value == 0 || server.timeline > release->timeline) return false;
  if (has_all_of(*release, server)) return false;
  auto until = over_at(turn) + turn.settings().primary_start_timeout;
  auto missing = fmt::format("{} wrote up to {} on timeline {} and I have {} on {}",
                             release->leader, release->end.text(), release->timeline,
                             server.last_lsn().text(), server.timeline);
  if (turn.now.boot >= until) {
    turn.say(Reason::Level::warning, missing + "; nobody with the rest came back in time");
    return false;
  }
  turn.wake_at(until);
  step_back(turn, missing);
  return true;
}

bool wait_for_successor(Turn& turn) {
  const auto* wanted = preference(turn);
  if (!wanted || is_named(turn) || !turn.cluster().member(wanted->candidate)) return false;
  auto until = free_at(turn) + kCandidateHeadStart;
  if (turn.now.boot >= until) return false;
  turn.wake_at(until);
  turn.say(fmt::format("waiting for {} to take over the lock", wanted->candidate));
  return true;
}

bool on_an_old_timeline(Turn& turn) {
  const auto& history = turn.cluster().history;
  if (!turn.settings().check_timeline || history.empty()) return false;
  auto newest = history.back().timeline + 1;
  if (turn.seen.server.timeline >= newest) return false;
  step_back(turn, fmt::format("my timeline {} is behind the cluster's {}",
                              turn.seen.server.timeline, newest));
  return true;
}

enum class Verdict { win, lose, ask };

Verdict judge(Turn& turn, const PeerRound& round) {
  auto last_leader = turn.state.takeover.key().mod_revision;
  auto waited = turn.now.boot - free_at(turn);
  bool patient = waited < kPatienceWithPeers;
  for (const auto& peer : round.peers) {
    if (!peer.answered || peer.nofailover) continue;
    bool comes_up = peer.starting && !MUTANT(starting_peers_left_out);
    if (comes_up && waited < kPatienceWithStarters) return Verdict::ask;
    if (!peer.running) continue;
    if (peer.primary) {
      step_back(turn, fmt::format("{} is a running primary", peer.name));
      return Verdict::lose;
    }
    if (is_not_in_sync(turn, peer.name)) continue;  // what it has more was never acknowledged
    bool unmeasured = peer.leaderless_revision < last_leader && !MUTANT(unmeasured_believed);
    if (unmeasured && patient) return Verdict::ask;
    if (is_ahead(peer, turn.seen.server)) {
      step_back(turn, fmt::format("I am not the healthiest node: {} is ahead of me ({} > {})",
                                  peer.name, peer.lsn.text(), turn.seen.server.last_lsn().text()));
      return Verdict::lose;
    }
    bool equal =
        peer.timeline == turn.seen.server.timeline && peer.lsn == turn.seen.server.last_lsn();
    if (equal && peer.failover_priority > turn.self.tags.failover_priority()) {
      step_back(turn, fmt::format("{} has the same WAL and a higher failover_priority", peer.name));
      return Verdict::lose;
    }
  }
  if (turn.release() && has_all_of(*turn.release(), turn.seen.server)) return Verdict::win;
  if (too_far_behind(turn, round, free_at(turn))) {
    step_back(turn, "I am not allowed to promote");
    return Verdict::lose;
  }
  return has_votes(turn, round) ? Verdict::win : Verdict::ask;
}

void ask_or_acquire(Turn& turn) {
  auto others = other_members(turn);
  if (MUTANT(peers_not_asked)) return acquire(turn);
  if (others.empty()) {
    if (judge(turn, {}) == Verdict::win) acquire(turn);
    return turn.wake_in(5 * kAskNext);
  }
  if (turn.seen.peers_asked || turn.in_flight(TxnKind::acquire)) return;
  const auto& round = turn.seen.peers;
  bool usable =
      round && round->asked_at >= free_at(turn) && turn.now.boot - round->asked_at < seconds(1);
  if (usable) {
    auto verdict = judge(turn, *round);
    if (verdict == Verdict::win) return acquire(turn);
    auto again = turn.state.last_asked + (verdict == Verdict::ask ? kAskNext : 5 * kAskNext);
    if (turn.now.boot < again) return turn.wake_at(again);
  }
  turn.state.last_asked = turn.now.boot;
  turn.act(AskPeers{others});
}

void race(Turn& turn) {
  if (turn.self.tags.nofailover() && !forced(turn) && !MUTANT(nofailover_ignored)) {
    return step_back(turn, "I am not allowed to promote");
  }
  if (turn.seen.guard.watchdog_failed) return step_back(turn, "my watchdog does not work");
  if (is_unfit(turn) && others_could_lead(turn) && !forced(turn)) {
    return step_back(turn, "I have just given the lock up");
  }
  if (auto names = unfenced_others(turn); !names.empty() && !forced(turn)) {
    return step_back(turn, fmt::format("{} switched the fence off in a pause and has not said that "
                                       "it is on again\nhint: if no server runs there for sure, "
                                       "force a failover",
                                       names));
  }
  if (chosen_successor(turn)) return acquire(turn);
  if (wait_for_successor(turn)) return;
  bool complete = turn.release() && has_all_of(*turn.release(), turn.seen.server);
  if (!complete && !forced(turn) && rule_not_in_sync(turn)) return;
  if (!own_figure_final(turn)) return;
  turn.out.leaderless_revision = turn.cluster().revision;
  if (forced(turn)) {
    turn.say(Reason::Level::warning, "manual failover: taking the lock although WAL may be lost");
    return acquire(turn);
  }
  if (wait_for_released_wal(turn)) return;
  if (on_an_old_timeline(turn)) return;
  ask_or_acquire(turn);
}

}  // namespace

// The key carries our name and we don't hold it. It is taken up again at once, as a new epoch, only
// if this very node put it there: in an acquisition whose answer was lost, or in an earlier life
// that wrote the epoch down. Anybody can write a name.
bool rule_leader_key_is_mine(Turn& turn) {
  if (!turn.leader_is_me() || turn.state.lock) return false;
  const auto& key = *turn.cluster().leader;
  bool of_this_life = key.lease != 0 && key.lease == turn.seen.lease.lease;
  bool of_earlier_life = turn.seen.remembered == lease::Epoch{key.lease, key.mod_revision};
  if (!of_this_life && !of_earlier_life) return false;
  if (turn.seen.guard.watchdog_failed) {
    // On a lease that goes on being renewed the key would keep everybody from leading.
    if (of_this_life && !turn.may_write()) turn.act(DropLease{true});
    return false;
  }
  if (is_unfit(turn) && others_could_lead(turn)) return false;
  const auto& server = turn.seen.server;
  if (turn.seen.guard.phase == ServerPhase::killing || turn.busy()) return true;
  if (server.data != DataDirectory::valid) return false;
  if (turn.seen.interrupted_job && !turn.state.bootstrapping) return false;
  // A read may be faster than the answer to what it tells of.
  bool asked = turn.in_flight(TxnKind::readopt) || turn.in_flight(TxnKind::acquire);
  if (turn.seen.lease.lease == 0 || asked) return true;
  const auto& promise = turn.seen.promise;
  bool promised = promise && promise->epoch.mod_revision > key.mod_revision;
  if (promised && turn.now.boot < promise->until) {
    turn.wake_at(promise->until);
    return true;
  }
  if (turn.state.refused_at && turn.now.boot < *turn.state.refused_at + milliseconds(500)) {
    turn.wake_in(milliseconds(500));
    return true;
  }
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.cluster().leader->mod_revision)};
  txn.operations = {Operation::put("leader", turn.self.name, turn.seen.lease.lease)};
  turn.transact(TxnKind::readopt, std::move(txn));
  turn.say(fmt::format("Lock owner: {}; I am {}: taking the lock up again", turn.self.name,
                       turn.self.name));
  return true;
}

bool rule_no_leader(Turn& turn) {
  auto safe_at = turn.state.takeover.safe_at();
  if (turn.cluster().leader && (!safe_at || turn.now.boot < *safe_at)) {
    if (safe_at) turn.wake_at(*safe_at);
    return false;
  }
  watch_lease(turn);  // a key that is still there: what looks over may turn out not to be
  const auto& server = turn.seen.server;
  if (turn.cluster().initialize && turn.cluster().initialize->empty()) {
    turn.say("waiting for the new cluster to be initialized");
    return true;
  }
  if (server.data == DataDirectory::empty || turn.seen.interrupted_job) {
    turn.say("waiting for leader to bootstrap");
    return true;
  }
  if (!turn.process_exists()) {
    // Who has just handed over starts when the successor leads, straight as its standby.
    if (turn.state.returning && wait_for_successor(turn)) return true;
    rule_no_dcs(turn);  // start as a standby of nobody, so that the WAL's end can be compared
    return true;
  }
  if (auto bound = bound_until(turn); turn.now.boot < bound) {
    turn.wake_at(bound);
    turn.say(fmt::format("not taking the lock for {:.1f} s: promised to a leader without etcd",
                         std::chrono::duration<double>(bound - turn.now.boot).count()));
    return true;
  }
  if (turn.now.boot < *safe_at) {
    turn.wake_at(*safe_at);
    turn.say(fmt::format("leader key is gone; {:.1f} s until its holder is surely fenced",
                         std::chrono::duration<double>(*safe_at - turn.now.boot).count()));
    return true;
  }
  if (turn.is_standby() && !rule_not_listed(turn)) race(turn);
  return true;
}

// A key without a lease never goes away, and no holder of it can have an armed server.
void rule_stale_leader(Turn& turn) {
  auto& state = turn.state;
  const auto& leader = turn.cluster().leader;
  if (!leader || leader->lease != 0) {
    state.stale_leader_since.reset();
    return;
  }
  if (!state.stale_leader_since || state.stale_leader_revision != leader->mod_revision) {
    state.stale_leader_since = turn.now.boot;
    state.stale_leader_revision = leader->mod_revision;
  }
  auto due = *state.stale_leader_since + turn.settings().ttl;
  turn.wake_at(std::max(due, turn.now.boot + milliseconds(100)));
  if (turn.now.boot < due) return;
  turn.say(Reason::Level::warning,
           fmt::format("removing a leader key without a lease: '{}'", leader->name));
  Txn txn;
  txn.compares = {Compare::unchanged("leader", leader->mod_revision)};
  txn.operations = {Operation::remove("leader")};
  turn.transact(TxnKind::remove_stale_leader, std::move(txn));
}

}  // namespace pgsteady::core
