// PATCH and PUT /config: the dynamic configuration, changed over REST.
#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kPatienceWithLeader = seconds(5);

// RFC 7396: objects are merged, null deletes, anything else replaces.
void merge(boost::json::object& target, const boost::json::object& patch) {
  for (const auto& [key, value] : patch) {
    if (value.is_null()) {
      target.erase(key);
    } else if (value.is_object()) {
      auto& inner = target[key];
      if (!inner.is_object()) inner = boost::json::object();
      merge(inner.as_object(), value.as_object());
    } else {
      target[key] = value;
    }
  }
}

}  // namespace

// A config key that vanished, or became garbage, is put back by the leader, where there is one. An
// agent that never read it cannot; then another member does.
void put_config_back(Turn& turn) {
  const auto& cluster = turn.cluster();
  auto& gone_since = turn.state.config_gone_since;
  if (!cluster.config_kept) gone_since.reset();
  if (!cluster.config_kept || !turn.fresh() || MUTANT(config_not_put_back)) return;
  if (turn.state.bootstrapping || turn.state.changing_config != 0) return;
  if (cluster.leader && !turn.leader_is_me()) {
    if (!gone_since) gone_since = turn.now.boot;
    auto due = *gone_since + kPatienceWithLeader;
    if (turn.now.boot < due) return turn.wake_at(due);
  }
  bool taken_back = turn.settings().synchronous_mode == SynchronousMode::off && cluster.sync &&
                    !cluster.sync->leader.empty();
  if (taken_back) return;  // the key was changed since: see is_on() in sync.cc
  const char* why = cluster.config_revision == 0 ? "is gone" : "cannot be read";
  turn.say(Reason::Level::warning,
           fmt::format("the config key {}: putting it back as it was", why));
  Txn txn;
  txn.compares = {cluster.leader ? Compare::unchanged("leader", cluster.leader->mod_revision)
                                 : Compare::absent("leader"),
                  Compare::unchanged("config", cluster.config_revision)};
  txn.operations = {Operation::put("config", boost::json::serialize(cluster.config->raw))};
  turn.transact(TxnKind::config, std::move(txn));
}

void ask_config(Turn& turn, const Request& request) {
  auto refuse = [&](int status, const char* why) { turn.act(Reply{request.id, status, why}); };
  const auto& cluster = turn.cluster();
  bool patch = request.kind == Request::Kind::patch_config;
  if (!turn.fresh()) return refuse(503, "DCS is not accessible");
  if (patch && !cluster.config) return refuse(503, "there is no configuration yet");
  if (turn.state.changing_config != 0 || !turn.may_transact(TxnKind::config)) {
    return refuse(409, "another change is under way");
  }
  auto config = patch ? cluster.config->raw : request.config;
  if (patch) merge(config, request.config);
  turn.state.changing_config = request.id;
  turn.state.new_config = boost::json::serialize(config);
  Txn txn;
  txn.compares = {Compare::unchanged("config", cluster.config_revision)};
  txn.operations = {Operation::put("config", turn.state.new_config)};
  turn.transact(TxnKind::config, std::move(txn));
}

void absorb_config(Turn& turn, const TxnEnd& end) {
  auto id = std::exchange(turn.state.changing_config, 0);
  auto config = std::exchange(turn.state.new_config, {});
  if (id == 0) return;
  if (!end.answered) return turn.act(Reply{id, 502, "DCS is not accessible"});
  turn.act(end.succeeded ? Reply{id, 200, std::move(config)}
                         : Reply{id, 409, "somebody else changed the configuration"});
}

}  // namespace pgsteady::core
