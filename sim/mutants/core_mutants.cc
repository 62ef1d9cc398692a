// Races, bootstrap, data directories, and what is written to etcd.
#include "sim/mutants/mutants.h"

namespace pgsteady::sim {
namespace {

using core::Decision;
using core::Observation;
using core::State;

Mutation not_keeping_wal() {
  Mutation mutation;
  mutation.keeps_diverged_wal = false;
  return mutation;
}

void released_wal_not_awaited(Observation& seen, State&) {
  if (seen.dcs.cluster.release) seen.dcs.cluster.release->end = Lsn{};
}

void foreign_system_accepted(Observation& seen, State&) {
  auto id = seen.dcs.cluster.system_id();
  if (!id) return;
  if (seen.server.system_id.value != 0) seen.server.system_id = *id;
  if (seen.server.control) seen.server.control->system_id = *id;
}

void priority_ignored(Observation& seen, State&) {
  if (!seen.peers) return;
  for (auto& peer : seen.peers->peers) peer.failover_priority = 1;
}

void marker_ignored(Observation& seen, State&) {
  if (seen.interrupted_job != "initdb") seen.interrupted_job.reset();
}

Mutation timelines_made_twice() {
  Mutation mutation;
  mutation.before_action = [](core::Action& action) {
    if (auto* promote = std::get_if<core::Promote>(&action)) promote->newest = 0;
    return true;
  };
  return mutation;
}

void member_written_each_turn(const Observation&, const State&, Decision& decided) {
  decided.state.member_written.clear();
}

void status_written_each_turn(const Observation&, const State&, Decision& decided) {
  decided.state.status_written.clear();
}

// A leader that would give the lock up, since its server does not start, clones instead.
void leader_clones(const Observation& seen, const State& before, Decision& decided) {
  if (!before.lock || !decided.state.giving_up || seen.job) return;
  const auto& members = seen.dcs.cluster.members;
  for (const auto& member : members) {
    auto address = host_port_of_url(member.conn_url);
    bool me = seen.dcs.cluster.leader && seen.dcs.cluster.leader->name == member.name;
    if (me || !address) continue;
    decided.actions = {core::Clone{{member.name, *address}}};
    return;
  }
}

}  // namespace

std::vector<Mutant> core_mutants() {
  return {
      {"starts_for_ever", "a standby that starts up and gets nowhere is waited for",
       "starved_start 1"},
      {"rewound_follows_anybody", "a rewound server starts up with any leader's WAL",
       "rewound_twice 1"},
      {"rewind_waits_on", "a rewind waits for a leader that leads no more", "rewind_in_vain 4"},
      {"lsns_compared_as_text", "0/FFFFFFF counts as more than 0/10000000", "diverged 1"},
      {"timelines_not_compared", "the race looks at LSNs alone", "diverged 1"},
      {"peers_not_asked", "the first candidate wins", "diverged 1"},
      {"any_figures", "figures count from before the key was gone, and of running receivers",
       "old_figures 1"},
      {"receiver_still_runs", "WAL comes in after the figure for a race was shown",
       "sync_late_wal 2"},
      {"unmeasured_believed", "a peer's figure counts before it has measured for this race",
       "unmeasured_peer 1"},
      {"starting_peers_left_out", "a peer whose server comes up is not waited for",
       "peer_comes_up 1"},
      {"old_reads_uncompared", "what was read before an own write is acted on, and not compared",
       "late_switchover 1", uncompared(core::TxnKind::readopt)},
      {"empty_node_makes_cluster", "a node without data makes a new cluster when the keys vanish",
       "vanished_keys 1"},
      {"twin_timelines_taken_for_one", "timelines of one number are one", "twin_timelines 1"},
      {"nofailover_ignored", "a node with the tag nofailover races like any other",
       "nofailover_alone 1"},
      {"lag_ignored", "maximum_lag_on_failover is ignored", "last_node_behind 1"},
      {"priority_ignored", "of two nodes with the same WAL either leads, whatever their priority",
       "priority 4", seeing(priority_ignored)},
      {"released_wal_not_awaited", "WAL that a release names is not waited for", "all_stopped 1",
       seeing(released_wal_not_awaited)},
      {"end_of_a_killed_server", "a release names an end although the server was killed",
       "killed_while_stopping 1"},
      {"successor_not_checked", "the successor that a release names takes over unseen",
       "all_stopped 1"},
      {"foreign_system_accepted", "another cluster's data is let in", "foreign_disk 1",
       seeing(foreign_system_accepted)},
      {"hung_server_leads_on", "a primary that does not answer keeps the lock", "hung_server 1"},
      {"late_key_forgotten",
       "who is waited for changes while a change of the sync key may still happen",
       "sync_late_key 2"},
      {"names_dropped_before_key",
       "a mode that is switched off ends the waiting before the key is gone", "sync_off_and_on 1"},
      {"leads_without_files", "a primary whose data directory is gone keeps the lock",
       "unlinked_data 1"},
      {"hung_commits_lead_on", "a primary whose commits hang keeps the lock", "hung_disk 1"},
      {"slow_start_leads_on", "a primary that does not come up keeps the lock", "slow_recovery 1"},
      {"diverged_wal_followed", "WAL outside the leader's history is not noticed", "diverged 1"},
      {"timelines_made_twice", "a promotion may use a timeline that another node has made",
       "timeline_twice 1", timelines_made_twice()},
      {"diverged_wal_not_kept", "WAL is thrown away before a rewind or clone", "broken_rewind 1",
       not_keeping_wal()},
      {"marker_ignored", "a directory that a job left half done is started", "broken_rewind 1",
       seeing(marker_ignored)},
      {"leader_clones", "a leader whose server does not start clones one", "broken_start 1",
       deciding(leader_clones)},
      {"member_written_each_turn", "a member key is written although nothing has changed",
       "all_stopped 1", deciding(member_written_each_turn)},
      {"status_written_each_turn", "a status is written although nothing has changed",
       "all_stopped 1", deciding(status_written_each_turn)},
  };
}

}  // namespace pgsteady::sim
