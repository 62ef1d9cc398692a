// What the policy remembers from one decision to the next. A value: it can be written down, and a
// decision made from it again.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/action.h"
#include "core/sync.h"
#include "lease/takeover.h"

namespace pgsteady::core {

// Waits 1, 2, 4 … 30 s between attempts that failed.
struct Backoff {
  int failures = 0;
  lease::Instant until;

  void failed(lease::Instant now);
  void succeeded() {
    failures = 0;
    until = {};
  }
  bool waits(lease::Instant now) const { return now < until; }
};

// A standby that starts up has been at the same WAL segment for a while, and gets no other.
struct StartStall {
  std::string segment;
  std::uint64_t refused_at = 0;  // the first refusal: more have to follow
  lease::Instant since;
};

// A running standby's WAL has ended at the same place for a while.
struct Stall {
  Lsn lsn;
  lease::Instant since;
};

// The leader's: what the `failsafe` key may hold, so that nobody in it is left out.
struct Failsafe {
  std::optional<FailsafeTask> task;              // as the asking thread was last told
  lease::Epoch epoch;                            // that the rest belongs to
  std::int64_t revision = 0;                     // of the key as last read
  FailsafeMembers written;                       // all that was put since, in whatever order
  std::map<MemberName, lease::Instant> seen_at;  // when each had a member key last
};

// The leader's: how far synchronous replication is with what was last written for it.
// A change of the sync key that has not been answered, of an agent before this one too: as long as
// the key is of this revision, it may still happen, until that time.
struct LateChange {
  std::optional<std::int64_t> replaces;
  lease::Instant until;
};

struct Sync {
  std::optional<SyncConfig> config;  // nullopt: synchronous_standby_names is not ours
  lease::Instant written_at;
  std::optional<lease::Instant> in_force_since;  // as sessions see it
  std::optional<Lsn> settled;                    // it was in force for all when WAL was here
};

// A switchover or failover that was asked for at this node and is not answered yet.
struct ManualFailover {
  Request request;
  enum class Step { checking, writing, waiting } step = Step::checking;
  MemberName old_leader;        // empty: there was none
  std::int64_t written = 0;     // revision of the failover key
  std::int64_t loss_bytes = 0;  // of WAL that the candidate does not have
  lease::Instant until;         // answered at the latest
};

// The failover key as this leader first saw it.
struct SeenFailover {
  std::int64_t revision = 0;
  lease::Instant at;
};

struct AskedLease {
  std::int64_t before = 0;  // the lease that it replaces
  lease::Duration ttl{};
};

// A restart by hand.
struct Restart {
  Request request;       // id 0: it was scheduled, nobody waits
  lease::Instant until;  // answered at the latest
  bool stopped = false;
};

struct State {
  bool begun = false;                // the first decision was made
  std::optional<lease::Epoch> lock;  // the leader key as this node holds it
  lease::Takeover takeover;
  Timeline asked_timeline = 0;              // in the transaction that was sent last; 0: none
  Timeline reserved_timeline = 0;           // in one that happened, for the promotion to come
  std::optional<Timeline> newest_reserved;  // by anybody, when this node was last seen to lead
  MemberName other_leader;                  // the last one that was not this node
  std::optional<lease::Instant> other_leader_served_since;  // under its present key
  std::optional<lease::Instant> refused_at;  // when the guardian last refused to arm the lock
  lease::Duration asked_ttl{};               // that the present lease was asked for with
  std::optional<AskedLease> asking;          // another was asked for
  lease::Instant lease_asked_at;
  std::int64_t read_revision = 0;     // of the newest read
  std::int64_t written_revision = 0;  // of our last write; older reads are stale
  bool bootstrapping = false;         // we hold the initialize key and make a new cluster
  bool users_created = false;
  bool initdb_done = false;
  std::optional<Timeline> checkpointed;  // a checkpoint was asked for since this timeline began
  std::optional<lease::Instant> starting_since;
  std::int64_t applied_config = -1;  // mod revision of the config key in force
  bool giving_up = false;            // the lock is on its way back
  bool had_cluster = false;          // etcd named the cluster once
  std::optional<lease::Instant> nameless_since;
  std::optional<lease::Instant> stale_initialize_since;
  bool starting = false;                        // a server was started and has not answered yet
  std::optional<UpstreamMember> upstream;       // as last configured
  bool old_slots_dropped = false;               // those made while this node led
  std::map<TxnKind, lease::Instant> txn_after;  // not again before, after a failure
  std::map<JobKind, lease::Instant> job_after;
  MemberName successor;         // on the way out: whom the lock is left to
  std::int64_t term_began = 0;  // revision at which this agent took the lock; 0: an earlier one did
  bool handing_over = false;    // the server stops or has stopped, then the lock is released
  std::optional<SeenFailover> failover_seen;
  std::vector<Request> held_requests;  // until what was read includes our own last write
  std::optional<ManualFailover> manual;
  std::optional<Restart> restart;
  std::optional<Request> scheduled_restart;
  std::string scheduled_for;          // start time of the server that it is meant for
  bool reinitialize = false;          // asked for, not done yet
  bool returning = false;             // handed over by hand: the server comes back also in a pause
  std::uint64_t changing_config = 0;  // the request that does; 0: none
  std::string new_config;             // that it writes
  std::uint64_t cancelling = 0;       // the request to delete a scheduled switchover; 0: none
  std::optional<lease::Instant> stale_leader_since;
  std::int64_t stale_leader_revision = 0;
  std::map<MemberName, lease::Instant> slot_members;  // when each was last seen
  std::vector<MemberName> synced_slots;
  lease::Instant slots_synced_at;
  std::string status_written;
  std::string member_written;
  std::int64_t member_lease = 0;
  lease::Instant status_written_at;
  lease::Instant last_poll;
  lease::Instant last_asked;
  std::optional<lease::Instant> diverged_since;
  Backoff initdb, clone, start, rewind;
  bool rewound = false;                             // since the last time this server streamed
  MemberName rewinds_from;                          // the leader when the last rewind began
  bool rewind_failed = false;                       // this data directory cannot be rewound: clone
  std::optional<Stall> unflushed;                   // a primary's WAL that waits for its disk
  std::optional<lease::Instant> hung_since;         // a primary that does not answer
  std::optional<lease::Instant> killing_since;      // its server is killed and not yet reaped
  std::optional<lease::Instant> blind_since;        // its files cannot be read
  lease::Instant pointed_at;                        // at its upstream, the last time
  std::optional<lease::Instant> cut_since;          // its upstream, and it has not shown yet
  std::optional<lease::Instant> files_gone_since;   // a primary's data directory is empty
  std::optional<lease::Instant> config_gone_since;  // the config key, under another leader
  std::vector<lease::Instant> crashes;              // of the last minute
  bool was_up = false;
  bool promotion_failed = false;
  std::optional<lease::Instant> unfit_until;  // it gave way: others lead first
  std::optional<Stall> stall;
  std::optional<StartStall> start_stall;
  std::optional<lease::Instant> unreadable_since;   // pg_control of a stopped server
  std::optional<lease::Instant> up_since;           // a standby that answers
  std::optional<lease::Instant> cascade_failed_at;  // the member of replicatefrom gave nothing
  int short_lives = 0;      // standbys in sequence that ended soon and complained
  std::string reclone_why;  // proof that this data cannot follow reclone_for
  MemberName reclone_for;

  Failsafe failsafe;
  Sync sync;
  bool twin_asked = false, name_is_ours = false;
  bool registered = false;      // a member key was written in this agent's life
  lease::Instant began_at;      // the first decision
  lease::Instant unsure_until;  // a transaction without an answer may still take the lock
  LateChange late_sync_change;
  bool unfenced_unsure = false;  // one may still take the announcement of a fence back
};

}  // namespace pgsteady::core
