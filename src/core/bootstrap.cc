// A new cluster, and keeping out of foreign ones.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

std::optional<SystemId> own_system_id(const Turn& turn) {
  const auto& server = turn.seen.server;
  if (server.control) return server.control->system_id;
  return turn.server_running() && server.system_id.value ? std::optional(server.system_id)
                                                         : std::nullopt;
}

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
  turn.transact(TxnKind::acquire, std::move(txn));
}

}  // namespace

bool rule_foreign_system(Turn& turn) {
  auto ours = own_system_id(turn);
  auto theirs = turn.cluster().system_id();
  if (!ours || !theirs || *ours == *theirs || turn.seen.interrupted_job) return false;
  auto text = fmt::format("system ID mismatch, node {} belongs to a different cluster: {} != {}",
                          turn.self.name, theirs->text(), ours->text());
  turn.say(Reason::Level::critical, text);
  if (turn.process_exists()) {
    if (!turn.busy()) turn.act(StopServer{StopServer::Mode::fast, false, seconds(5)});
  } else {
    turn.act(Finish{1, text});
  }
  return true;
}

bool rule_bootstrap(Turn& turn) {
  const auto& cluster = turn.cluster();
  if (cluster.leader || turn.seen.lease.lease == 0) return false;
  bool empty = turn.seen.server.data == DataDirectory::empty;
  bool ruins = turn.seen.interrupted_job == "initdb";
  if (!cluster.initialize) {
    turn.state.initdb_done = false;
    if (!empty && !ruins) return false;  // a server that outlived its etcd races as usual
    if (turn.state.initdb.waits(turn.now.boot)) return true;
    turn.state.bootstrapping = false;
    claim(turn);
    return true;
  }
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
  bool named = cluster.system_id().has_value();
  if (!turn.fresh() || named) return;
  bool fresh_data = turn.state.bootstrapping || turn.seen.interrupted_job == "initdb";
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
