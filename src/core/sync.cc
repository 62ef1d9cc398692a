// Synchronous modes: what PostgreSQL waits for, and who may therefore be promoted. The key never
// promises more than the server enforces: adding begins with postgresql.conf, removing with the
// key.
#include "core/sync.h"

#include <fmt/ranges.h>
#include <tuple>

#include "core/turn.h"

namespace pgsteady::core {
namespace {

// How long all processes of the server get to take a configuration that a session sees.
constexpr auto kSettles = seconds(1);
constexpr auto kWriteAgain = seconds(2);
constexpr auto kAnswered = seconds(2);          // or not: longer than a transaction is waited for
constexpr auto kLookAgain = milliseconds(300);  // whether it has settled

// A config key that is gone, or cannot be read, takes no promise back, whatever this node knew
// before.
bool says_off(const Turn& turn) {
  return turn.cluster().config && turn.settings().synchronous_mode == SynchronousMode::off;
}

bool has_lost_it(const Turn& turn) {
  return !turn.cluster().config || (turn.cluster().config_kept && says_off(turn));
}

bool is_on(const Turn& turn) {
  const auto& key = turn.cluster().sync;
  return has_lost_it(turn) ? key && !key->leader.empty() : !says_off(turn);
}

// Switched off, it counts until it is removed.
bool key_counts(const Turn& turn) {
  return is_on(turn) || (says_off(turn) && turn.cluster().sync_revision != 0);
}

SyncVoters voters_of_key(const Turn& turn) {
  const auto& key = turn.cluster().sync;
  return key ? SyncVoters{key->standbys, key->quorum} : SyncVoters{};
}

void change_key(Turn& turn, Operation operation, std::vector<Compare> also = {}) {
  if (!turn.may_transact(TxnKind::sync)) return;
  turn.state.late_sync_change = {turn.cluster().sync_revision,
                                 turn.now.boot + kAnswered + kLateTransaction};
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.state.lock->mod_revision),
                  Compare::unchanged("sync", turn.cluster().sync_revision)};
  txn.compares.insert(txn.compares.end(), also.begin(), also.end());
  txn.operations = {std::move(operation)};
  turn.transact(TxnKind::sync, std::move(txn));
}

void write_key(Turn& turn, const SyncVoters& voters) {
  SyncState sync{turn.self.name, voters.names, voters.quorum};
  change_key(turn, Operation::put("sync", sync_to_json(sync)));
}

// A change of the key that is under way, or was never answered, goes by what the server waits for
// now. Before that changes, another change of the key makes it fail. One that replaces no key names
// nobody, and harms nobody.
bool key_is_sure(Turn& turn) {
  auto& late = turn.state.late_sync_change;
  auto revision = turn.cluster().sync_revision;
  if (!late.replaces) late = {revision, turn.state.began_at + kAnswered + kLateTransaction};
  bool over = turn.now.boot >= late.until && *turn.seen.dcs.read_at >= late.until;
  if (revision != *late.replaces || revision == 0 || over || MUTANT(late_key_forgotten))
    return true;
  if (turn.now.boot >= late.until) turn.out.read_now = true;
  turn.wake_at(std::max(late.until, turn.now.boot + kLookAgain));
  auto before = late;
  write_key(turn, voters_of_key(turn));
  late = before;  // this one says nothing new, whenever it happens
  return false;
}

void write_config(Turn& turn, std::optional<SyncConfig> config) {
  if (!turn.may_begin(JobKind::reconfigure)) return;
  auto& sync = turn.state.sync;
  sync = {};
  sync.config = std::move(config);
  sync.written_at = turn.now.boot;
  turn.act(Reconfigure{std::nullopt});
}

// Switched off: the key goes first.
void leave(Turn& turn) {
  if (turn.cluster().sync_revision != 0) {
    // Late, it may not meet a mode that is on again.
    auto config = Compare::unchanged("config", turn.cluster().config_revision);
    return change_key(turn, Operation::remove("sync"), {config});
  }
  if (turn.state.sync.config && key_is_sure(turn)) write_config(turn, std::nullopt);
}

struct Chosen {
  MemberName name;
  bool chosen_before = false;
  std::int64_t priority = 0;
  Lsn flushed;
  auto order() const { return std::tuple(chosen_before, priority, flushed); }
};

// Patroni before 4.0 knows no quorum: named in the key, it leads without asking for votes.
bool knows_mode(const Turn& turn, const Member& member) {
  auto major = parse_decimal(std::string_view(member.version).substr(0, member.version.find('.')));
  return turn.settings().synchronous_mode != SynchronousMode::quorum || major.value_or(0) >= 4;
}

void say_too_old(Turn& turn) {
  std::vector<MemberName> names;
  for (const auto& member : turn.cluster().members) {
    if (member.name != turn.self.name && !knows_mode(turn, member)) names.push_back(member.name);
  }
  if (names.empty()) return;
  turn.say(Reason::Level::error,
           fmt::format("not waiting for {}: their Patroni is older than 4.0 and knows no quorum\n"
                       "hint: upgrade them, or set synchronous_mode: on",
                       fmt::join(names, ", ")));
}

std::vector<Chosen> candidates(const Turn& turn) {
  std::vector<Chosen> found;
  Lsn furthest;
  for (const auto& row : turn.seen.server.replication) {
    const auto* member = turn.cluster().member(row.application_name);
    if (!member || row.state != "streaming" || !row.flush_lsn) continue;
    if (member->tags.nosync() || member->tags.nofailover()) continue;
    if (!knows_mode(turn, *member)) continue;
    const auto& config = turn.state.sync.config;
    found.push_back({member->name, config && config->names.count(member->name) > 0,
                     member->tags.number("sync_priority", 1), *row.flush_lsn});
    furthest = std::max(furthest, *row.flush_lsn);
  }
  auto limit = turn.settings().maximum_lag_on_syncnode_bytes;
  if (limit > 0) std::erase_if(found, [&](auto& c) { return furthest - c.flushed > limit; });
  std::sort(found.begin(), found.end(),
            [](const Chosen& a, const Chosen& b) { return a.order() > b.order(); });
  return found;
}

SyncConfig target(const Turn& turn) {
  auto all = candidates(turn);
  auto count = static_cast<std::size_t>(
      std::clamp<std::int64_t>(turn.settings().synchronous_node_count, 1, 100));
  count = std::min(count, all.size());
  if (turn.settings().synchronous_mode == SynchronousMode::on) all.resize(count);
  SyncConfig config;
  config.wait_for = static_cast<int>(count);
  for (const auto& candidate : all) config.names.insert(candidate.name);
  return config;
}

std::string text_of(const Turn& turn, const SyncConfig& config) {
  return sync_names_text(config, turn.settings().synchronous_mode_strict ? "*" : "");
}

// In force is what a session sees, and a while later what all others have seen too: the
// checkpointer, which tells backends to wait at all, and the walsenders, which let them go. From
// then on whatever is acknowledged was waited for.
bool settles(Turn& turn) {
  auto& sync = turn.state.sync;
  const auto& server = turn.seen.server;
  if (server.sync_names != text_of(turn, *sync.config)) {
    sync.in_force_since.reset();
    sync.settled.reset();
    if (turn.now.boot >= sync.written_at + kWriteAgain) write_config(turn, sync.config);
    return false;
  }
  auto measured_at = lease::Instant(server.measured_at);
  if (!sync.in_force_since) sync.in_force_since = measured_at;
  bool seen_by_all = measured_at >= *sync.in_force_since + kSettles && server.checkpointer_waits;
  seen_by_all = seen_by_all || MUTANT(sync_not_settled);
  if (!sync.settled && seen_by_all) sync.settled = server.write_lsn;
  return sync.settled.has_value();
}

// While the key names nobody, nobody may take over.
void look_again_soon(Turn& turn) {
  turn.wake_in(kLookAgain);
  auto measured_at = lease::Instant(turn.seen.server.measured_at);
  if (turn.now.boot >= std::max(turn.state.sync.written_at, measured_at) + kLookAgain) {
    turn.out.measure_now = true;
  }
}

// Those in the key who are still waited for, and those that have caught up with the moment from
// which on they are.
std::set<MemberName> ready(const Turn& turn) {
  const auto& sync = turn.state.sync;
  std::set<MemberName> names;
  for (const auto& name : voters_of_key(turn).names) {
    if (sync.config->names.count(name)) names.insert(name);
  }
  for (const auto& row : turn.seen.server.replication) {
    bool waited_for = row.sync_state == "sync" || row.sync_state == "quorum";
    if (!waited_for || !sync.config->names.count(row.application_name)) continue;
    bool has_all =
        row.flush_lsn && (*row.flush_lsn >= *sync.settled || MUTANT(named_before_it_has_all));
    if (has_all) names.insert(row.application_name);
  }
  return names;
}

// A lower quorum than before trusts each of them with more: all that was acknowledged up to now,
// too, by whoever had to flush it then. Until they have it, the quorum stays.
SyncVoters trusted(const Turn& turn, SyncVoters wanted) {
  auto before = voters_of_key(turn);
  const auto& settled = turn.state.sync.settled;
  auto has_all = [&](const MemberName& name) {
    const auto& rows = turn.seen.server.replication;
    return settled && std::any_of(rows.begin(), rows.end(), [&](const ReplicationRow& row) {
             return row.application_name == name && row.flush_lsn && *row.flush_lsn >= *settled;
           });
  };
  bool lower = wanted.quorum < before.quorum && !MUTANT(quorum_lowered_at_once);
  if (!lower || std::all_of(wanted.names.begin(), wanted.names.end(), has_all)) return wanted;
  wanted.quorum = before.quorum;
  return wanted.quorum < static_cast<int>(wanted.names.size()) ? wanted : SyncVoters{};
}

}  // namespace

// After a restart of the agent: what the server has. False: it has something else, and the key
// still names somebody who may not be waited for then.
bool know_sync(Turn& turn) {
  auto& sync = turn.state.sync;
  if (MUTANT(new_agent_forgets_sync)) return true;
  if (!key_counts(turn)) return true;
  if (!sync.config) sync.config = parse_sync_names(turn.seen.server.sync_names);
  return sync.config || voters_of_key(turn).names.empty();
}

void duty_sync(Turn& turn) {
  if (!turn.fresh() || turn.busy() || turn.state.bootstrapping || !turn.leader_is_me()) return;
  if (has_lost_it(turn)) {
    if (!is_on(turn)) return;
    return turn.say(Reason::Level::error,
                    "the config key is gone or cannot be read: nobody else is named synchronous\n"
                    "hint: put it back with PUT /config");
  }
  if (!is_on(turn)) return leave(turn);
  say_too_old(turn);
  const auto& key = turn.cluster().sync;
  if (!key || key->leader != turn.self.name) return write_key(turn, {});
  auto& sync = turn.state.sync;
  if (!know_sync(turn)) return write_key(turn, {});
  if (!sync.config) {
    if (key_is_sure(turn)) write_config(turn, SyncConfig{});
    return;
  }
  auto voters = voters_of_key(turn);
  bool settled = settles(turn);
  if (!settled && voters.names.empty()) look_again_soon(turn);
  if (turn.busy() || (!settled && !voters.names.empty())) return;
  auto next = target(turn);
  if (next == *sync.config) {
    if (!settled) return;
    auto wanted = trusted(turn, voters_under(next, next, ready(turn)));
    if (wanted != voters && !wanted.names.empty()) write_key(turn, wanted);
    return;
  }
  const auto& now = MUTANT(lists_read_at_once) ? next : *sync.config;
  if (keeps(now, next, voters) || MUTANT(sync_names_before_key)) {
    if (key_is_sure(turn)) write_config(turn, next);
    return;
  }
  std::set<MemberName> both;
  for (const auto& name : voters.names) {
    if (next.names.count(name)) both.insert(name);
  }
  write_key(turn, trusted(turn, voters_under(now, next, both)));
}

// What a new primary acknowledges before anybody is waited for, it alone has.
bool rule_sync_key_first(Turn& turn) {
  const auto& key = turn.cluster().sync;
  if (!is_on(turn) || (key && key->leader == turn.self.name && key->standbys.empty())) return false;
  if (MUTANT(sync_key_after_promotion)) return false;
  if (turn.fresh()) write_key(turn, {});
  return true;
}

// A primary started in place goes on waiting for those whom the key names. False: who that is, is
// not sure yet.
bool recall_sync(Turn& turn) {
  auto& sync = turn.state.sync;
  const auto& key = turn.cluster().sync;
  if (!key_counts(turn) || sync.config || !key || key->leader != turn.self.name) return true;
  if (MUTANT(restart_forgets_sync)) return true;
  if (!turn.fresh() || !key_is_sure(turn)) {
    turn.say("waiting to know whom the last commits waited for");
    turn.out.read_now = turn.seen.dcs.reachable;
    return false;
  }
  sync.config = SyncConfig{key->standbys, static_cast<int>(key->standbys.size()) - key->quorum};
  return true;
}

void forget_sync(Turn& turn) {
  if (!turn.state.lock) turn.state.sync = {};
}

bool is_not_in_sync(const Turn& turn, const MemberName& name) {
  const auto& key = turn.cluster().sync;
  if (!is_on(turn) || !key || key->leader.empty()) return false;
  return key->leader != name && !key->standbys.count(name);
}

int votes_needed(const Turn& turn) {
  const auto& key = turn.cluster().sync;
  return is_on(turn) && key && !key->leader.empty() ? key->quorum : 0;
}

bool is_in_sync(const Turn& turn) {
  const auto& key = turn.cluster().sync;
  return is_on(turn) && key && key->standbys.contains(turn.self.name);
}

bool rule_not_in_sync(Turn& turn) {
  if (!is_not_in_sync(turn, turn.self.name) || MUTANT(promoted_outside_sync)) return false;
  turn.say(
      "following a different leader because I am not allowed to promote: I am no synchronous "
      "standby of " +
      turn.cluster().sync->leader);
  turn.wake_in(milliseconds(100));
  return true;
}

bool has_votes(Turn& turn, const PeerRound& round) {
  const auto& key = turn.cluster().sync;
  if (!is_on(turn) || !key || key->leader == turn.self.name) return true;
  auto last_leader = turn.state.takeover.key().mod_revision;
  auto votes = std::count_if(round.peers.begin(), round.peers.end(), [&](const PeerFigure& peer) {
    return peer.answered && peer.running && !peer.primary && key->standbys.count(peer.name) &&
           peer.leaderless_revision >= last_leader;
  });
  if (votes >= key->quorum || MUTANT(votes_not_counted)) return true;
  turn.say(fmt::format("following a different leader because only {} of {} votes are in", votes,
                       key->quorum));
  return false;
}

bool knows_settings(const Observation& seen) {
  bool known = seen.dcs.read_at && seen.dcs.cluster.config;
  return known || MUTANT(starts_with_defaults);
}

std::optional<std::string> sync_names_for_file(const State& state, const DynamicConfig& settings) {
  // Switched off, it stays until the key is gone: see leave().
  bool off = settings.synchronous_mode == SynchronousMode::off;
  if (off && (!state.sync.config || MUTANT(names_dropped_before_key))) return std::nullopt;
  auto config = state.sync.config.value_or(SyncConfig{});
  return sync_names_text(config, settings.synchronous_mode_strict ? "*" : "");
}

}  // namespace pgsteady::core
