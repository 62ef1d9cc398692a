// What synchronous replication promises, as arithmetic over sets of names. Pure.
//
// PostgreSQL acknowledges a commit once `wait_for` of the nodes in `names` have flushed it. The
// `sync` key says who may be promoted: a node in `names`, if it and at least `quorum` others of
// them are seen in the race and none is ahead. Nothing acknowledged is lost as long as among any
// quorum + 1 of the key's names there is one of the wait_for nodes that had to flush, whichever
// those were: quorum + wait_for >= |names of either|.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/types.h"

namespace pgsteady::core {

struct SyncConfig {  // what synchronous_standby_names says
  std::set<MemberName> names;
  int wait_for = 0;
  bool operator==(const SyncConfig&) const = default;
};

struct SyncVoters {  // what the key says, beside the leader
  std::set<MemberName> names;
  int quorum = 0;
  bool operator==(const SyncVoters&) const = default;
};

// The least quorum with which these names may stand in the key while some processes of the server
// have read the one list and some the other; with one list twice, while all have read that. A
// walsender goes by the number that it has read, and counts everybody whose own walsender has read
// a list with its name, but itself always (SyncRepGetCandidateStandbys, am_sync): for `1 (a)` that
// is a.
int least_quorum(const SyncConfig& now, const SyncConfig& next, const std::set<MemberName>& names);
bool keeps(const SyncConfig& now, const SyncConfig& next, const SyncVoters& voters);

// All of `names`, or nobody when that could never be a majority.
SyncVoters voters_under(const SyncConfig& now, const SyncConfig& next, std::set<MemberName> names);

// `ANY 1 ("a","b")`, or `2 ("a","b")` when all are waited for. `of_nobody` when there are no names.
std::string sync_names_text(const SyncConfig& config, const std::string& of_nobody);
// The reverse, for exactly what sync_names_text writes; nullopt for anything else.
std::optional<SyncConfig> parse_sync_names(std::string_view text);

}  // namespace pgsteady::core
