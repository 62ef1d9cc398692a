// The whole simulated cluster: world, network, etcd, hosts, a client that never stops writing, and
// the checkers that look at all of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/checker.h"
#include "sim/etcd.h"
#include "sim/host.h"
#include "sim/mutation.h"

namespace pgsteady::sim {

struct Settings {
  int nodes = 3;
  int ttl_seconds = 5;
  int loop_wait_ms = 1000;
  int spares = 0;  // more nodes, which are added later
  bool check_timeline = false;
  bool failsafe = false;
  bool watchdog = false;  // required, on each node
  SynchronousMode synchronous = SynchronousMode::off;
  bool strict = false;
  int sync_nodes = 1;
  std::map<MemberName, Tags> tags;  // of members that have any
  std::int64_t maximum_lag_bytes = 1 << 20;
  Duration client_pause = milliseconds(250);  // between two commits, on the average
  const Mutation* mutation = nullptr;
};

// The `config` key that these settings make.
std::string config_json(const Settings& settings);

class Cluster {
 public:
  Cluster(World& world, Settings settings);
  ~Cluster();

  World& world;
  const Settings settings;
  Network network;
  Etcd etcd;
  WalTree tree;
  WalPoint archive;  // what a restore_command finds
  Checker checker;

  int nodes() const { return settings.nodes + settings.spares; }  // those not yet added too
  Host& host(Place place) { return *hosts_[static_cast<std::size_t>(place)]; }
  Place place_of(const MemberName& name) const;  // -1: nobody
  Tags tags_of(const MemberName& name) const;

  void start();  // power on, client on
  void set_client(bool writes) { writes_ = writes; }

  // One primary that holds the key, and every node that is on streams from it, up to its end.
  bool converged();
  bool lists_everybody();           // the failsafe key does, and nobody else
  bool lists_another(Place place);  // the failsafe key does, which is whole
  bool can_spare(Place place);      // what it has is not needed to go on without an operator
  std::string picture();            // who is what, for a failure's report
  Place primary();                  // the only node that acknowledges; -1: none

 private:
  void client_turn();
  bool is_whole(Place place);         // it runs, on data that is there
  bool has_copy_beside(Place place);  // another node runs on whole data
  bool synchronous_again(const MemberName& leader);

  Rng rng_;
  std::vector<std::unique_ptr<Host>> hosts_;
  bool writes_ = true;
};

}  // namespace pgsteady::sim
