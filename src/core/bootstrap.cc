// A new cluster, and keeping out of foreign ones.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

// The initialize key is ours while it is empty and hangs on our lease.
bool claimed_by_me(const Turn& turn) {
  const auto& cluster = turn.cluster();
  return cluster.initialize && cluster.initialize->empty() &&
         cluster.initialize_lease == turn.seen.lease.lease && turn.seen.lease.lease != 0;
}

void claim(Turn& turn) {
  Txn txn;
  txn.compares = {Compare::absent("initialize"), Compare::absent("leader")};
  // On our lease, so that a node that dies in the middle does not block the cluster for ever.
  txn.operations = {Operation::put("initialize", "", turn.seen.lease.lease)};
  turn.transact(TxnKind::claim_initialize, std::move(txn));
}

void take_lock_of_new_cluster(Turn& turn) {
  Txn txn;
  txn.compares = {Compare::absent("leader"),
                  Compare::unchanged("initialize", turn.cluster().initialize_revision)};
  txn.operations = {Operation::put("leader", turn.self.name, turn.seen.lease.lease),
                    Operation::remove("release")};
  turn.state.asked_timeline = 0;  // a new cluster begins on its first
  turn.transact(TxnKind::acquire, std::move(txn));
}

// A node with data names its cluster as soon as etcd does not know it, before an empty one can make
// another.
void name_cluster(Turn& turn) {
  auto id = own_system_id(turn);
  if (!id || turn.seen.server.data != DataDirectory::valid || turn.seen.interrupted_job) return;
  Txn txn;
  txn.compares = {Compare::absent("initialize")};
  txn.operations = {Operation::put("initialize", id->text())};
  turn.transact(TxnKind::name_cluster, std::move(txn));
}

// Somebody has data: it will name the cluster.
bool data_elsewhere(const Turn& turn) {
  for (const auto& member : turn.cluster().members) {
    if (member.timeline != 0) return true;
  }
  // This node knew a cluster whose keys have vanished: its members get time to come back.
  if (MUTANT(empty_node_makes_cluster)) return false;
  auto patience = 2 * turn.settings().ttl;
  return turn.state.had_cluster && turn.now.boot - *turn.state.nameless_since < patience;
}

// Without a lease nobody holds it any more: a Patroni that died while it bootstrapped, or garbage.
void rule_stale_initialize(Turn& turn) {
  const auto& cluster = turn.cluster();
  auto& since = turn.state.stale_initialize_since;
  if (!cluster.initialize->empty() || cluster.initialize_lease != 0) return since.reset();
  if (!since) since = turn.now.boot;
  if (turn.now.boot - *since < seconds(30)) return turn.wake_at(*since + seconds(30));
  turn.say(Reason::Level::warning, "removing an initialize key that nobody holds");
  Txn txn;
  txn.compares = {Compare::unchanged("initialize", cluster.initialize_revision)};
  txn.operations = {Operation::remove("initialize")};
  turn.transact(TxnKind::cancel_initialize, std::move(txn));
}

}  // namespace

bool rule_bootstrap(Turn& turn) {
  const auto& cluster = turn.cluster();
  if (cluster.leader || turn.seen.lease.lease == 0) return false;
  bool empty = turn.seen.server.data == DataDirectory::empty;
  bool ruins = turn.seen.interrupted_job == "initdb";
  if (!cluster.initialize) {
    turn.state.initdb_done = turn.state.bootstrapping = false;
    if (!empty && !ruins) {
      name_cluster(turn);
      return false;
    }
    if (turn.self.tags.nofailover()) {
      turn.say("waiting for leader to bootstrap: I am not allowed to lead");
      return true;
    }
    if (turn.seen.guard.watchdog_failed) {
      turn.say(Reason::Level::warning, "not bootstrapping: my watchdog does not work");
      return true;
    }
    if (data_elsewhere(turn) || turn.state.initdb.waits(turn.now.boot)) return true;
    claim(turn);
    return true;
  }
  rule_stale_initialize(turn);
  if (!claimed_by_me(turn)) return false;
  turn.state.bootstrapping = true;
  if (turn.busy()) return true;
  if (turn.state.initdb_done) {
    take_lock_of_new_cluster(turn);
  } else if (!turn.state.initdb.waits(turn.now.boot)) {
    turn.act(RunInitdb{});
  } else {
    turn.wake_at(turn.state.initdb.until);
  }
  return true;
}

// The new cluster's leader serves: make the roles, then tell everybody who we are.
void duty_finish_bootstrap(Turn& turn) {
  const auto& cluster = turn.cluster();
  bool fresh_data = turn.state.bootstrapping || turn.seen.interrupted_job == "initdb";
  if (!turn.fresh()) return;
  if (auto named = cluster.system_id()) {
    // The answer to the transaction that named it may have been lost.
    if (fresh_data && *named == turn.seen.server.system_id) {
      turn.state.bootstrapping = false;
      turn.act(ClearMarker{});
    }
    return;
  }
  if (fresh_data && !turn.state.users_created) {
    if (!turn.busy()) turn.act(CreateUsers{});
    return;
  }
  auto id = turn.seen.server.system_id;
  if (id.value == 0) return;
  Txn txn;
  txn.compares = {Compare::unchanged("leader", turn.state.lock->mod_revision)};
  txn.operations = {Operation::put("initialize", id.text())};
  if (cluster.config_revision == 0) {
    txn.operations.push_back(Operation::put("config", turn.self.bootstrap_config));
  }
  turn.transact(TxnKind::finish_initialize, std::move(txn));
}

}  // namespace pgsteady::core
