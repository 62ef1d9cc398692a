// Everything that stands in etcd about one cluster, read at one revision.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/types.h"
#include "cluster/dynamic_config.h"
#include "cluster/etcd.h"
#include "cluster/member.h"

namespace pgsteady {

struct LeaderKey {
  MemberName name;
  std::int64_t lease = 0;
  std::int64_t mod_revision = 0;
  bool operator==(const LeaderKey&) const = default;
};

// The `status` key: what the leader last said of itself.
struct ClusterStatus {
  Lsn optime;
  std::map<std::string, Lsn> slots;
  std::vector<std::string> retain_slots{};  // these two are Patroni's: kept as they are
  bool operator==(const ClusterStatus&) const = default;
};

// One line of the `history` key: `timeline` ended at `end`, the next one began there.
struct TimelineSwitch {
  Timeline timeline = 0;
  Lsn end;
  std::string reason;
  std::string time;
  std::string new_leader;
  bool operator==(const TimelineSwitch&) const = default;
};

// The `failover` key. Cleared is `{}` and reads as absent.
struct FailoverRequest {
  std::string leader;
  std::string candidate;  // "member" in JSON
  std::string scheduled_at;
  std::int64_t mod_revision = 0;
  bool force = false;  // ours: the candidate is taken although WAL would be lost
  bool operator==(const FailoverRequest&) const = default;
};

// Our own key `release`, written in the very transaction in which a primary that has shut down
// deletes its leader key: the proof that nobody writes any more. Whoever takes the lock removes it.
struct ReleaseNote {
  MemberName leader;
  std::int64_t leader_revision = 0;  // mod revision of the leader key it gave up
  Timeline timeline = 0;
  Lsn end;  // of the shutdown checkpoint record's beginning, as pg_control says
  std::int64_t mod_revision = 0;
  bool operator==(const ReleaseNote&) const = default;
};

// The `sync` key: who has every acknowledged commit. The leader, and each of the standbys that sees
// `quorum` others of them in a race, none ahead of it.
struct SyncState {
  MemberName leader;
  std::set<MemberName> standbys;  // "sync_standby" in JSON, divided by commas
  int quorum = 0;
  bool operator==(const SyncState&) const = default;
};

// The `failsafe` key: who could take the lock, name → api_url. Whoever is not in it does not.
using FailsafeMembers = std::map<MemberName, std::string>;

struct ClusterView {
  std::int64_t revision = 0;
  std::optional<std::string> initialize;  // "" while somebody bootstraps
  std::int64_t initialize_revision = 0;
  std::int64_t initialize_lease = 0;
  std::optional<LeaderKey> leader;
  std::vector<Member> members;  // by name
  std::optional<DynamicConfig> config;
  std::int64_t config_revision = 0;
  bool config_kept = false;  // the key is gone or cannot be read, and config is what it was before
  std::optional<ClusterStatus> status;
  std::int64_t status_revision = 0;  // mod revision of its key
  std::vector<TimelineSwitch> history;
  std::optional<FailoverRequest> failover;
  std::int64_t failover_revision = 0;  // of the key, also when it is cleared
  std::optional<ReleaseNote> release;
  Timeline reserved_timeline = 0;      // our own key `timeline`, see reserve_timeline() in core/
  std::int64_t reserved_revision = 0;  // mod revision; 0: there is no such key
  std::optional<FailsafeMembers> failsafe;  // absent too when it cannot be read
  std::int64_t failsafe_revision = 0;       // mod revision; 0: there is no such key
  std::optional<SyncState> sync;            // absent too when it cannot be read
  std::int64_t sync_revision = 0;
  std::map<MemberName, std::int64_t> unfenced;  // our own keys unfenced/NAME: mod revisions
  std::vector<std::string> problems;            // garbage that was found, "key: what was wrong"

  const Member* member(const MemberName& name) const;
  const DynamicConfig& settings() const;  // config, or the defaults
  std::optional<SystemId> system_id() const;
};

// Keys relative to the cluster's prefix; unknown ones are passed over. Never fails: what cannot be
// read is left out and named in `problems`.
ClusterView parse_cluster(const std::vector<KeyValue>& keys, std::int64_t revision);

// A config key that vanishes, or becomes garbage, takes no setting back: what it was `before` holds
// until somebody puts one. Where the cluster's name is gone as well, it is another cluster's.
void keep_config(ClusterView& now, const ClusterView& before);

std::string status_to_json(const ClusterStatus& status);
std::string history_to_json(const std::vector<TimelineSwitch>& history);
std::string failover_to_json(const FailoverRequest& request);
std::string sync_to_json(const SyncState& sync);
std::string failsafe_to_json(const FailsafeMembers& members);
std::string release_to_json(const ReleaseNote& note);

}  // namespace pgsteady
