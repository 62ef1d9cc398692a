#include "core/ancestry.h"

namespace pgsteady::core {
namespace {

std::optional<Lsn> switch_of(const std::vector<TimelineSwitch>& history, Timeline timeline) {
  for (const auto& line : history) {
    if (line.timeline == timeline) return line.end;
  }
  return std::nullopt;
}

}  // namespace

Ancestry compare_with_leader(const WalPosition& local, Timeline leader_timeline,
                             const std::vector<TimelineSwitch>& history) {
  if (leader_timeline == 0 || local.timeline == 0) return Ancestry::unknown;
  if (local.timeline == leader_timeline) {
    // Two nodes may have made a timeline of this number, each its own.
    auto theirs = switch_of(history, leader_timeline - 1);
    return local.began && theirs && *local.began != *theirs ? Ancestry::diverged : Ancestry::same;
  }
  if (local.timeline > leader_timeline) return Ancestry::diverged;
  auto end = switch_of(history, local.timeline);
  bool complete = !history.empty() && history.back().timeline + 1 >= leader_timeline;
  if (!end) return complete ? Ancestry::diverged : Ancestry::unknown;
  if (!local.end_known) return Ancestry::diverged;
  // Nothing follows the checkpoint record of a clean shutdown. pg_control names its beginning, so
  // who went on after it has all of it.
  if (local.was_primary) return local.end < *end ? Ancestry::same : Ancestry::diverged;
  return local.end > *end ? Ancestry::diverged : Ancestry::same;
}

}  // namespace pgsteady::core
