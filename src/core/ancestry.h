// Can a data directory follow a leader? Timelines and LSNs as numbers, nothing else.
#pragma once

#include <optional>
#include <vector>

#include "base/types.h"
#include "cluster/view.h"

namespace pgsteady::core {

// The reason of a line of the history key whose timeline exists somewhere else only: the server
// that wrote the key has nothing of it.
constexpr char kPassedOver[] = "passed over";

struct WalPosition {
  Timeline timeline = 0;
  std::optional<Lsn> began;  // where it left the timeline before it, if known
  Lsn end;                   // everything up to here is in the data directory
  bool end_known =
      true;  // false: a primary that crashed; its WAL reaches further than pg_control says
  bool was_primary = false;
};

enum class Ancestry {
  same,      // can stream on
  diverged,  // has WAL that is not in the leader's history: rewind or clone
  unknown,   // the leader has not published its history yet
};

// `leader_timeline` 0: not known. `history`: the cluster's history key; line i says where timeline
// `timeline` ended.
Ancestry compare_with_leader(const WalPosition& local, Timeline leader_timeline,
                             const std::vector<TimelineSwitch>& history);

// From where on the WAL of `timeline` may be in no history of the leader; nullopt: not known.
std::optional<Lsn> parted_at(Timeline timeline, const std::vector<TimelineSwitch>& history);

}  // namespace pgsteady::core
