#include "sim/cluster.h"

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "sim/agent.h"

namespace pgsteady::sim {

Cluster::Cluster(World& world_, Settings settings_)
    : world(world_),
      settings(std::move(settings_)),
      network(world, nodes() + kEtcdMembers),
      etcd(world, network, nodes()),
      checker(*this),
      rng_(world.rng().fork()) {
  for (Place place = 0; place < nodes(); ++place) {
    hosts_.push_back(std::make_unique<Host>(*this, place));
  }
  etcd.before_commit = [this](Place from, const Txn& txn) { checker.committing(from, txn); };
}

Cluster::~Cluster() = default;

Place Cluster::place_of(const MemberName& name) const {
  for (const auto& host : hosts_) {
    if (host->name() == name) return host->place();
  }
  return -1;
}

Tags Cluster::tags_of(const MemberName& name) const {
  auto found = settings.tags.find(name);
  return found == settings.tags.end() ? Tags{} : found->second;
}

std::string config_json(const Settings& settings) {
  boost::json::object config{{"ttl", settings.ttl_seconds},
                             {"loop_wait", settings.loop_wait_ms / 1000.0},
                             {"maximum_lag_on_failover", settings.maximum_lag_bytes},
                             {"failsafe_mode", settings.failsafe}};
  if (settings.check_timeline) config["check_timeline"] = true;
  if (settings.synchronous == SynchronousMode::on) config["synchronous_mode"] = true;
  if (settings.synchronous == SynchronousMode::quorum) config["synchronous_mode"] = "quorum";
  if (settings.strict) config["synchronous_mode_strict"] = true;
  if (settings.sync_nodes != 1) config["synchronous_node_count"] = settings.sync_nodes;
  return boost::json::serialize(config);
}

void Cluster::start() {
  for (auto& host : hosts_) {
    world.after(rng_.between(milliseconds(0), milliseconds(400)), nullptr,
                [host = host.get()] { host->power_on(); });
  }
  client_turn();
}

// Beside every server sits a client that commits whenever it is let.
void Cluster::client_turn() {
  checker.look();
  if (writes_) {
    for (auto& host : hosts_) {
      if (host->disk().hangs > 0) host->server().commit_in_vain();
      if (host->server().can_acknowledge()) host->server().commit();
    }
  }
  auto pause = settings.client_pause;
  world.after(rng_.between(pause / 4, pause * 7 / 4), nullptr, [this] { client_turn(); });
}

Place Cluster::primary() {
  Place found = -1;
  for (auto& host : hosts_) {
    if (!host->server().can_acknowledge()) continue;
    if (found >= 0) return -1;
    found = host->place();
  }
  return found;
}

bool Cluster::converged() {
  auto leader = primary();
  const auto* key = etcd.find("leader");
  if (leader < 0 || !key || key->value != host(leader).name()) return false;
  if (host(leader).disk().unlinked) return false;
  const auto& wal = host(leader).disk().wal;
  for (auto& each : hosts_) {
    if (each->place() == leader || !each->belongs()) continue;
    auto& server = each->server();
    if (!server.running() || !server.in_recovery() || !server.streams()) return false;
    if (each->disk().unlinked || !server.knows_its_upstream()) return false;
    bool behind = !tree.contains(wal, server.wal()) || wal.end - server.wal().end > 4096;
    if (behind || server.wal().branch != wal.branch) return false;
  }
  return synchronous_again(host(leader).name());
}

bool Cluster::lists_everybody() {
  auto view = etcd.view();
  if (!view->settings().failsafe_mode) return true;
  return view->failsafe && std::all_of(hosts_.begin(), hosts_.end(), [&](auto& host) {
           return host->belongs() == view->failsafe->contains(host->name());
         });
}

// The sync key names whoever could be promoted, when the mode asks for it.
bool Cluster::synchronous_again(const MemberName& leader) {
  auto view = etcd.view();
  bool on = view->settings().synchronous_mode != SynchronousMode::off;
  if (!on) return view->sync_revision == 0;
  if (!view->sync || view->sync->leader != leader) return false;
  bool alone = std::none_of(view->members.begin(), view->members.end(), [&](const Member& member) {
    return member.name != leader && !member.tags.nofailover();
  });
  return alone || !view->sync->standbys.empty();
}

// In a synchronous mode nobody but those whom the sync key names could go on, and in failsafe mode
// nobody but those whom the last leader could reach.
bool Cluster::can_spare(Place place) {
  if (!has_copy_beside(place) || !lists_another(place)) return false;
  // Only an operator knows that no server runs there any more.
  if (etcd.find("unfenced/" + host(place).name())) return false;
  auto view = etcd.view();
  if (view->settings().synchronous_mode == SynchronousMode::off && !view->sync) return true;
  auto leader = primary();
  if (leader < 0 || leader != place) return leader >= 0;
  if (!view->sync || view->sync->leader != host(place).name()) return false;
  const auto& standbys = view->sync->standbys;
  return !standbys.empty() &&
         std::all_of(standbys.begin(), standbys.end(), [&](const MemberName& name) {
           auto found = place_of(name);
           return found >= 0 && host(found).on() && host(found).server().running();
         });
}

bool Cluster::lists_another(Place place) {
  const auto& list = etcd.view()->failsafe;
  return !list || std::any_of(list->begin(), list->end(), [&](const auto& entry) {
    auto other = place_of(entry.first);
    return other >= 0 && other != place && is_whole(other);
  });
}

bool Cluster::is_whole(Place place) {
  auto& each = host(place);
  return each.on() && each.server().running() && !each.disk().marker && !each.disk().unlinked;
}

bool Cluster::has_copy_beside(Place place) {
  return std::any_of(hosts_.begin(), hosts_.end(), [&](const auto& each) {
    return each->place() != place && is_whole(each->place());
  });
}

std::string Cluster::picture() {
  std::string out;
  const auto* key = etcd.find("leader");
  out += fmt::format("leader key: {}; etcd {}", key ? key->value : "none",
                     etcd.available() ? "has a leader" : "has no leader");
  for (auto& each : hosts_) {
    if (!each->belongs()) continue;
    const auto& disk = each->disk();
    auto& server = each->server();
    auto timeline = disk.wal.branch < 0 ? 0 : tree.timeline(disk.wal.branch);
    out += fmt::format("; {}: {}{}{}, timeline {} at {}, {}{}", each->name(),
                       !each->on() ? "off " : "",
                       !server.postmaster_alive() ? "no server"
                       : server.in_recovery()     ? "standby"
                                                  : "primary",
                       server.running() ? "" : " (not up)", timeline, disk.wal.end.text(),
                       server.streams() ? "streaming" : "not streaming",
                       disk.marker ? ", marker " + *disk.marker : "");
  }
  return out;
}

}  // namespace pgsteady::sim
