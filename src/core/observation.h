// Everything that a decision may look at, each fact with the time it was measured.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cluster/local_server.h"
#include "cluster/view.h"
#include "core/request.h"
#include "lease/failsafe.h"
#include "lease/renewal.h"
#include "lease/takeover.h"

namespace pgsteady::core {

struct Time {
  lease::Instant boot;
  WallTime wall;
};

// What a node knows of itself from its configuration; constant while it runs.
struct Identity {
  MemberName name;
  std::string conn_url, api_url, version;
  Tags tags;
  std::string bootstrap_config;                         // JSON for the config key
  lease::Duration bootstrap_ttl = DynamicConfig{}.ttl;  // that it sets
};

struct DcsFacts {
  bool asked = false;                     // a read has ended, one way or the other
  bool reachable = false;                 // the last read was answered in time
  std::optional<lease::Instant> read_at;  // send time of the last read that was answered
  std::uint64_t term = 0;                 // raft term of that read
  ClusterView cluster;                    // as of that read
};

struct LeaseFacts {  // what the renewal thread last reported
  lease::Renewal::State state = lease::Renewal::State::none;
  std::int64_t lease = 0;
  lease::Duration ttl{};
  std::optional<lease::Epoch> epoch;
  std::optional<lease::Instant> held_until;
};

struct FailsafeFacts {  // what the thread that asks for promises last reported
  lease::Epoch epoch;
  std::optional<lease::Instant> held_until;  // the deadline that all others' promises give
};

// Whom the leader asks when etcd is gone, as this node last wrote it down.
struct FailsafeTask {
  lease::Epoch epoch;
  lease::Duration ttl{};
  FailsafeMembers others;
  bool operator==(const FailsafeTask&) const = default;
};

enum class ServerPhase { none, running, stopping, killing };  // as the guardian knows it

struct GuardFacts {
  ServerPhase phase = ServerPhase::none;
  bool as_primary = false;  // how the server was started
  lease::Epoch armed;       // invalid: unarmed
  lease::Instant deadline;
  lease::Duration ttl{};
  lease::Epoch refused;          // the last that it would not arm: a new one is needed
  bool suspended = false;        // the fence is off, see pause.cc
  bool watchdog_failed = false;  // one is required and does not work: it arms nothing
};

// At most one job that changes the server runs at a time.
enum class JobKind { initdb, clone, rewind, start, stop, promote, reconfigure, create_users };

struct JobEnd {
  JobKind kind{};
  bool ok = false;
  bool harmless = false;  // it failed before it changed anything
  std::string message;    // of the failure
};

enum class TxnKind {
  member,
  acquire,
  readopt,
  release,
  give_up,
  claim_initialize,
  name_cluster,
  finish_initialize,
  cancel_initialize,
  status,
  history,
  ask_failover,
  cancel_failover,
  clear_failover,
  unfenced,
  config,
  remove_stale_leader,
  retake,
  failsafe,
  sync,
  reserve,
};

// Whether the transaction, if it succeeds, makes this node the holder of the leader key.
inline bool takes_lock(TxnKind kind) {
  return kind == TxnKind::acquire || kind == TxnKind::readopt || kind == TxnKind::retake;
}

struct TxnEnd {
  TxnKind kind{};
  bool answered = false;  // false: it may or may not have happened
  bool lease_gone = false;
  bool succeeded = false;
  std::int64_t revision = 0;
  std::int64_t lease = 0;  // that the transaction used
};

// What another member answered to GET /patroni.
struct PeerFigure {
  MemberName name;
  bool answered = false;
  bool running = false;
  bool starting = false;  // its server comes up: its figure is not known yet
  bool primary = false;
  bool nofailover = false;
  std::int64_t failover_priority = 1;
  Timeline timeline = 0;
  Lsn lsn;
  // Revision of a read after which the peer knew that nobody holds the lock any more, and measured
  // timeline and lsn with its WAL receiver ended. 0: not (yet).
  std::int64_t leaderless_revision = 0;
};

// Whether the leader still has the WAL that this node needs next.
struct WalAnswer {
  lease::Instant asked_at;
  Lsn lsn;  // where this node's WAL ended
  bool present = false;
};

// A commit of the agent's own: neither committed nor refused while, or since, it hangs.
struct CommitProbe {
  lease::Instant sent_at;
  bool committed = false;
  bool refused = false;  // the server did not even try: too many clients, say
};

struct PeerRound {
  lease::Instant asked_at;
  std::vector<PeerFigure> peers;
};

struct Observation {
  DcsFacts dcs;
  LeaseFacts lease;
  GuardFacts guard;
  LocalServer server;
  std::optional<std::string> interrupted_job;  // marker of a job that did not finish
  std::optional<JobKind> job;                  // under way
  bool job_waits = false;                      // for its source; it has changed nothing yet
  std::vector<TxnKind> transactions;           // under way
  std::optional<lease::Epoch> remembered;      // the last epoch of this node, kept on its disk
  bool slots_failed = false;                   // the last SyncSlots
  bool lease_request = false;                  // a grant or a revocation is under way
  bool peers_asked = false;                    // a round of questions is under way
  std::optional<PeerRound> peers;              // the last round
  std::optional<bool> name_taken;              // the answer to AskTwin
  bool probing = false;                        // ProbeCommit is under way
  std::optional<CommitProbe> commit_probe;     // the last one
  bool wal_asked = false;                      // AskForWal is under way
  std::optional<WalAnswer> wal_answer;         // the last one
  std::vector<WallTime> reclones;              // clones that recovery.cc asked for, kept on disk
  std::optional<lease::Instant> stop_by;       // SIGTERM came: be gone by then

  // Failsafe mode:
  std::optional<FailsafeTask> remembered_task;  // the last one of this node, kept on its disk
  FailsafeFacts failsafe;
  std::optional<lease::Promise> promise;  // the last that this node gave

  // What happened since the last decision, in order:
  std::vector<TxnEnd> txn_ends;
  std::vector<JobEnd> job_ends;
  std::vector<lease::LeasePoll> polls;
  std::vector<Request> requests;  // by operators
};

}  // namespace pgsteady::core
