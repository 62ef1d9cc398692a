#include "core/ancestry.h"

#include <algorithm>

namespace pgsteady::core {

Ancestry compare_with_leader(const WalPosition& local, Timeline leader_timeline,
                             const std::vector<TimelineSwitch>& history) {
  if (leader_timeline == 0 || local.timeline == 0) return Ancestry::unknown;
  if (local.timeline == leader_timeline) return Ancestry::same;
  if (local.timeline > leader_timeline) return Ancestry::diverged;
  auto line = std::find_if(history.begin(), history.end(),
                           [&](const TimelineSwitch& s) { return s.timeline == local.timeline; });
  bool complete = !history.empty() && history.back().timeline + 1 >= leader_timeline;
  if (line == history.end()) return complete ? Ancestry::diverged : Ancestry::unknown;
  // Whether a stopped primary wrote past the switch, only pg_rewind can tell: pg_control names the
  // beginning of its last checkpoint record, not the end of its WAL.
  if (local.was_primary || !local.end_known) return Ancestry::diverged;
  return local.end > line->end ? Ancestry::diverged : Ancestry::same;
}

}  // namespace pgsteady::core
