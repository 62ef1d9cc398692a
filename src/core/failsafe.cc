// Without etcd: a leader lives on what all others promise, and a promise is kept.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

// How long a member that has vanished is still listed, and so has to be asked. As long as it is, it
// may take the lock when it comes back and the leader does not.
constexpr auto kListedAfterVanishing = seconds(60);

// Everybody with a member key, and those who had one not long ago.
FailsafeMembers wanted_list(Turn& turn) {
  auto& seen_at = turn.state.failsafe.seen_at;
  FailsafeMembers list{{turn.self.name, turn.self.api_url}};
  for (const auto& member : turn.cluster().members) {
    if (member.name == turn.self.name || member.api_url.empty()) continue;
    seen_at[member.name] = turn.now.boot;
    list[member.name] = member.api_url;
  }
  std::erase_if(seen_at, [&](const auto& entry) {
    return !list.count(entry.first) &&
           !(turn.cluster().failsafe && turn.cluster().failsafe->count(entry.first));
  });
  if (!turn.cluster().failsafe) return list;
  for (const auto& [name, url] : *turn.cluster().failsafe) {
    auto since = seen_at.emplace(name, turn.now.boot).first->second;
    if (turn.now.boot - since < kListedAfterVanishing) list.emplace(name, url);
  }
  return list;
}

void tell(Turn& turn, std::optional<FailsafeTask> task) {
  if (turn.state.failsafe.task == task) return;
  turn.state.failsafe.task = task;
  turn.act(AskPromises{std::move(task)});
}

void write_list(Turn& turn, Operation operation) {
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.state.lock->mod_revision),
                  Compare::unchanged("failsafe", turn.cluster().failsafe_revision)};
  txn.operations = {std::move(operation)};
  turn.transact(TxnKind::failsafe, std::move(txn));
}

// Nobody is asked any more. The key goes only then, since it keeps out who is not in it.
void switch_off(Turn& turn) {
  tell(turn, std::nullopt);
  const auto& until = turn.seen.failsafe.held_until;
  if (turn.cluster().failsafe_revision == 0 || (until && turn.now.boot < *until)) return;
  write_list(turn, Operation::remove("failsafe"));
}

// Promised to a leader that has been replaced or has shut down: nothing is owed to it.
bool is_void(const Turn& turn, const lease::Promise& promise) {
  if (!promise.epoch.valid()) return false;
  auto newest = turn.state.takeover.key().mod_revision;
  if (turn.cluster().leader) newest = std::max(newest, turn.cluster().leader->mod_revision);
  if (newest > promise.epoch.mod_revision) return true;
  const auto* release = turn.release();
  return release && release->leader_revision >= promise.epoch.mod_revision;
}

}  // namespace

bool on_promises(const Turn& turn) {
  const auto& until = turn.seen.failsafe.held_until;
  return turn.armed() && turn.seen.failsafe.epoch == *turn.state.lock && until &&
         turn.now.boot < *until && turn.now.boot < turn.seen.guard.deadline;
}

namespace {

// Nobody can have, while all others keep their word; but a clock may have stood still. Who led has
// reserved a timeline.
bool another_has_led(const Turn& turn) {
  const auto& before = turn.state.newest_reserved;
  auto ours = std::max(turn.seen.server.timeline, turn.state.reserved_timeline);
  auto newest = turn.cluster().reserved_timeline;
  return turn.fresh() && before && newest > *before && newest > ours;
}

}  // namespace

// As long as all others keep their word, a key that etcd has let go is still ours to take back.
bool keeps_lock_on_promises(Turn& turn) {
  if (!on_promises(turn)) return false;
  const auto& leader = turn.cluster().leader;
  if (!leader) return !another_has_led(turn);
  if (!turn.leader_is_me()) return false;
  lease::Epoch key{leader->lease, leader->mod_revision};
  if (key == *turn.state.lock) return true;
  if (key.lease == 0 || key.lease != turn.seen.lease.lease) return false;
  turn.state.lock = key;  // taken back already: the answer got lost
  turn.act(HoldKey{key});
  return true;
}

// Only the leader changes the key, so what it has read and written under this epoch is all that can
// stand there, however long etcd is away. A name is asked before it is put, and until it is surely
// gone.
void duty_failsafe(Turn& turn) {
  auto& mine = turn.state.failsafe;
  const auto& cluster = turn.cluster();
  const auto& lock = *turn.state.lock;
  bool holds = turn.leader_is_me() && cluster.leader->mod_revision == lock.mod_revision;
  if (!turn.fresh() || !holds || !cluster.config) return;
  if (!turn.settings().failsafe_mode) return switch_off(turn);
  if (mine.revision != cluster.failsafe_revision || mine.epoch != lock) mine.written.clear();
  mine.revision = cluster.failsafe_revision;
  mine.epoch = lock;
  auto list = wanted_list(turn);
  bool put = cluster.failsafe != list && turn.may_transact(TxnKind::failsafe);
  if (put) mine.written.insert(list.begin(), list.end());
  if (cluster.failsafe) {
    FailsafeTask task{lock, turn.seen.lease.ttl, *cluster.failsafe};
    for (const auto& [name, url] : mine.written) task.others[name] = url;
    task.others.erase(turn.self.name);
    tell(turn, std::move(task));
  } else {
    tell(turn, std::nullopt);
  }
  if (put) write_list(turn, Operation::put("failsafe", failsafe_to_json(list)));
}

// An agent that started beside an armed guardian, while etcd is away.
void take_over_promises(Turn& turn) {
  const auto& task = turn.seen.remembered_task;
  if (task && task->epoch == turn.seen.guard.armed) tell(turn, task);
}

void drop_promises(Turn& turn) {
  if (!turn.state.lock) tell(turn, std::nullopt);
}

// Until when this node may not take the lock, because it said so, or because an agent before this
// one may have. Lies in the past when there is nothing of the kind.
lease::Instant bound_until(const Turn& turn) {
  const auto& promise = turn.seen.promise;
  bool known = promise && !is_void(turn, *promise);
  auto until = known ? promise->until : lease::Instant{};
  bool unknown = turn.cluster().failsafe_revision != 0 && !turn.release();
  return unknown ? std::max(until, turn.state.began_at + lease::kLongestPromise) : until;
}

// A leader that lives on promises has asked those in the list. After a release there is none.
bool rule_not_listed(Turn& turn) {
  const auto& list = turn.cluster().failsafe;
  if (!list || list->count(turn.self.name) || turn.release()) return false;
  turn.say(Reason::Level::warning,
           fmt::format("following a different leader because I am not allowed to promote: the "
                       "failsafe key does not name me, so {} may live on without me\n"
                       "hint: if it surely does not run, and nobody named there can lead, remove "
                       "the key failsafe",
                       turn.cluster().leader ? turn.cluster().leader->name : "the last leader"));
  return true;
}

}  // namespace pgsteady::core
