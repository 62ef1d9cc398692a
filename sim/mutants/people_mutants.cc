// Synchronous modes, and what operators ask for by hand.
#include "sim/mutants/mutants.h"

namespace pgsteady::sim {

std::vector<Mutant> people_mutants() {
  return {
      {"promoted_outside_sync", "a node that the sync key does not name may lead",
       "sync_outsider 1"},
      {"sync_key_after_promotion", "a new primary names itself after it was promoted",
       "sync_primary_lost 1"},
      {"sync_names_before_key", "a standby is not waited for any more while the key names it",
       "reconfigured 1"},
      {"named_before_it_has_all", "a standby is named before it has what was acknowledged",
       "sync_slow_standby 3 sync_slow_standby 5"},
      {"sync_not_settled", "what a session sees of the configuration holds for all at once",
       "reconfigured 1"},
      {"votes_not_counted", "a quorum is taken for granted", "sync_quorum_alone 1"},
      {"lists_read_at_once",
       "all processes of a server are taken to read a new list of standbys at once",
       "sync_grows 4"},
      {"quorum_lowered_at_once", "a quorum sinks before all who are left have what is acknowledged",
       "sync_fewer_votes 1"},
      {"new_agent_forgets_sync", "a new agent configures a primary that nobody is waited for",
       "sync_restart 1"},
      {"restart_forgets_sync", "a primary started in place waits for nobody", "sync_restart 1"},
      {"starts_with_defaults", "a server that starts while etcd is away waits for nobody",
       "sync_without_etcd 1"},
      {"lagging_candidate", "a candidate named by hand may be behind by anything",
       "switchover_lagging 1"},
      {"request_outlives_its_leader",
       "a leader serves what names it although it lost the lock in between", "stopped_together 1"},
      {"config_not_put_back", "a config key that is deleted stays away", "config_deleted 1"},
      {"released_while_stopping", "the lock is released before the last WAL was shipped",
       "switchover_slow 1"},
  };
}

}  // namespace pgsteady::sim
