// Paths that are taken rarely and have to be taken by some seed of a campaign: World::reached()
// names them where they are taken. `pgsteady_sim` fails when a thousand seeds left one out.
#pragma once

namespace pgsteady::sim {

inline constexpr const char* kRarePaths[] = {
    "a deposed etcd leader answered",
    "the answer to a transaction was lost",
    "a lease was overdue when it was renewed",
    "a transaction waited for an etcd leader",
    "a lease was taken before etcd deleted the key",
    "an agent took over from the guardian",
    "what was killed hung in a write",
    "a server was killed by its guardian's heir",
    "a watchdog reset its host",
    "a promotion was overheard",
    "a promotion waited for the replay",
    "a walsender outlived its server on a disk that hung",
    "a walsender outlived its data directory",
    "a rewind broke in the middle",
    "diverged WAL was kept",
    "a timeline was passed over",
    "a replica was cloned anew by itself",
    "polls of a deposed etcd leader were not believed",
    "a server ended on a full disk",
    "a replica streamed from a replica",
    "a node with a priority was promoted",
    "a lag that nobody can make up was passed over",
    "a scheduled switchover was carried out",
    "a scheduled switchover came too late",
    "two primaries outside the assumptions",
    "a lock was granted beside a host that stood still",
    "a leader lived on promises",
    "a lock was taken back on promises",
    "a promise kept a node from the lock",
    "etcd failed alone, and writes went on",
    "a fence was switched off in a pause",
    "a primary outlived its deadline in a pause",
};

// Those that random plans never take, as they need verbs of scenarios; and the scenario that does.
struct PathOfScenario {
  const char* path;
  const char* scenario;
};
inline constexpr PathOfScenario kPathsOfScenarios[] = {
    {"WAL was restored from the archive", "stale_archive"},
};

}  // namespace pgsteady::sim
