// What a decision can ask for. Actions are carried out in order; one that is refused (the guardian
// rejects an arm, a job is under way) stops the rest.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/observation.h"

namespace pgsteady::core {

struct UpstreamMember {
  MemberName name;
  HostPort address;
  bool slot = true;  // it keeps one for this node, if the cluster uses slots
  bool operator==(const UpstreamMember&) const = default;
};

struct GrantLease {
  lease::Duration ttl;
};
struct AdoptLease {  // one that an earlier agent of this guardian held
  std::int64_t lease;
  lease::Duration ttl;
  lease::Instant counted;
};
struct DropLease {
  bool revoke;
};
struct HoldKey {
  lease::Epoch epoch;
};
struct LetGo {};
struct Transact {
  TxnKind kind;
  Txn txn;
};
struct Arm {
  lease::Epoch epoch;
  lease::Instant deadline;
  lease::Duration ttl;
};
struct Disarm {  // nothing runs any more, and nothing may start under this epoch
  lease::Epoch epoch;
};
struct Fence {
  std::string why;
};
struct SwitchFence {  // off: deadlines are not acted on until it is on again
  bool on;
};
struct PollLease {
  std::int64_t lease;
};
struct AskPromises {  // from now on, whenever a renewal is late; no task: of nobody
  std::optional<FailsafeTask> task;
};
struct AskPeers {
  std::vector<MemberName> members;
};

struct AskForWal {  // whether `from` still has the WAL that follows `lsn`
  UpstreamMember from;
  Lsn lsn;
};

struct AskTwin {  // whether a node of our name, other than we, answers at this URL
  std::string api_url;
};

struct RunInitdb {};
struct Clone {
  UpstreamMember from;
  // What is wrong with the data directory that is there, when no job left it half done: written
  // down and counted before it is given up.
  std::string why{};
};
struct Rewind {
  UpstreamMember from;
  std::optional<Lsn> parted_at{};  // WAL before it is the leader's as well; nullopt: not known
};
struct StartServer {
  bool as_primary;
  std::optional<UpstreamMember> upstream;
};
struct StopServer {
  enum class Mode { fast, immediate } mode;
  bool checkpoint_first;
  lease::Duration limit;  // killed after it
};
struct Promote {
  lease::Epoch epoch;
  lease::Duration limit{};  // it fails when recovery has not ended by then
  // Timelines up to this one exist somewhere, as far as etcd tells: the new one gets a later
  // number.
  Timeline newest = 0;
};
struct Reconfigure {
  std::optional<UpstreamMember> upstream;
};  // also applies changed parameters
struct CreateUsers {};
struct ClearMarker {};  // the data directory is whole

// Beside a server-changing job:
struct Checkpoint {};
struct SyncSlots {
  std::vector<MemberName> members;
  bool drop = true;  // our other slots, if nobody uses them
};
struct ProbeCommit {  // one tiny transaction
  lease::Duration limit;
};
struct CancelJob {};
struct Reload {};  // of the configuration file, by a new agent if it is good
struct Reply {     // to an operator's request
  std::uint64_t id;
  int status;  // HTTP's
  std::string text;
};
struct Finish {
  int exit_code;
  std::string message;
};

using Action =
    std::variant<GrantLease, AdoptLease, DropLease, HoldKey, LetGo, Transact, Arm, Disarm, Fence,
                 SwitchFence, PollLease, AskPromises, AskPeers, AskForWal, AskTwin, RunInitdb,
                 Clone, Rewind, StartServer, StopServer, Promote, Reconfigure, CreateUsers,
                 ClearMarker, Checkpoint, SyncSlots, ProbeCommit, CancelJob, Reload, Reply, Finish>;

}  // namespace pgsteady::core
