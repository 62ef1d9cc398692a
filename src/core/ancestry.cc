#include "core/ancestry.h"

#include "lease/mutant.h"

namespace pgsteady::core {
namespace {

const TimelineSwitch* switch_of(const std::vector<TimelineSwitch>& history, Timeline timeline) {
  for (const auto& line : history) {
    if (line.timeline == timeline) return &line;
  }
  return nullptr;
}

}  // namespace

Ancestry compare_with_leader(const WalPosition& local, Timeline leader_timeline,
                             const std::vector<TimelineSwitch>& history) {
  if (leader_timeline == 0 || local.timeline == 0) return Ancestry::unknown;
  if (MUTANT(diverged_wal_followed)) return Ancestry::same;
  if (local.timeline == leader_timeline) {
    // Two nodes may have made a timeline of this number, each its own.
    const auto* theirs = switch_of(history, leader_timeline - 1);
    bool twins = local.began && theirs && *local.began != theirs->end;
    return twins && !MUTANT(twin_timelines_taken_for_one) ? Ancestry::diverged : Ancestry::same;
  }
  if (local.timeline > leader_timeline) return Ancestry::diverged;
  const auto* line = switch_of(history, local.timeline);
  bool complete = !history.empty() && history.back().timeline + 1 >= leader_timeline;
  if (!line) return complete ? Ancestry::diverged : Ancestry::unknown;
  if (line->reason == kPassedOver || !local.end_known) return Ancestry::diverged;
  // Nothing follows the checkpoint record of a clean shutdown. pg_control names its beginning, so
  // who went on after it has all of it.
  if (local.was_primary) return local.end < line->end ? Ancestry::same : Ancestry::diverged;
  return local.end > line->end ? Ancestry::diverged : Ancestry::same;
}

std::optional<Lsn> parted_at(Timeline timeline, const std::vector<TimelineSwitch>& history) {
  const auto* line = switch_of(history, timeline);
  if (!line || line->reason == kPassedOver) return std::nullopt;
  return line->end;
}

}  // namespace pgsteady::core
