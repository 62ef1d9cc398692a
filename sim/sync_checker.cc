#include "sim/sync_checker.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {

Moment SyncChecker::now() const {
  return cluster_.world.now();
}

bool SyncChecker::is_on() {
  return cluster_.etcd.settings().synchronous_mode != SynchronousMode::off;
}

bool SyncChecker::promised(Place place, int waited_for) {
  if (!is_on()) return false;
  auto view = cluster_.etcd.view();
  const auto& key = view->sync;
  return waited_for > 0 || (key && key->leader == cluster_.host(place).name());
}

// How many of those whom the key names do not have it. Who has lost its disk cannot be promoted
// before it is cloned, and is looked at then.
int SyncChecker::lacking(const SyncState& sync, const WalPoint& commit) {
  auto lacks = [&](const MemberName& name) {
    auto place = cluster_.place_of(name);
    if (place < 0) return true;
    const auto& disk = cluster_.host(place).disk();
    bool has_nothing = disk.data != DataDirectory::valid || disk.marker == "clone";
    return !has_nothing && !cluster_.tree.contains(disk.wal, commit);
  };
  return static_cast<int>(std::count_if(sync.standbys.begin(), sync.standbys.end(), lacks));
}

void SyncChecker::acknowledged(Place place, const WalPoint& commit, int waited_for) {
  last_[commit.branch] = {commit, now(), waited_for};
  auto view = cluster_.etcd.view();
  const auto& key = view->sync;
  const auto& name = cluster_.host(place).name();
  if (!key || key->leader != name || key->standbys.empty()) return;
  if (auto missing = lacking(*key, commit); missing > key->quorum) {
    cluster_.world.violation(fmt::format(
        "{} acknowledged a commit that {} of {} synchronous standbys ({}) lack, with a "
        "quorum of {}",
        name, missing, key->standbys.size(), fmt::join(key->standbys, ", "), key->quorum));
  }
}

void SyncChecker::granted(const MemberName& name) {
  auto view = cluster_.etcd.view();
  if (view->leader && view->leader->name == name) return;  // taken up again
  const auto& failover = view->failover;
  forced_ = failover && failover->force && failover->candidate == name;
  const auto& release = view->release;
  complete_ = release && release->end.value != 0 ? release->leader : MemberName();
}

void SyncChecker::key_changes(const std::string& json) {
  auto view = cluster_.etcd.view();
  KeyValue changed{"sync", json, 1, 1, 0};
  auto next = parse_cluster({changed}, 1).sync;
  const auto& before = view->sync;
  auto place = next ? cluster_.place_of(next->leader) : -1;
  if (place < 0 || !before || !is_on()) return;
  bool other = before->leader != next->leader;
  bool may =
      !other || before->standbys.count(next->leader) || forced_ || complete_ == before->leader;
  if (!may) {
    cluster_.world.violation(fmt::format("{} leads, which the sync key of {} does not name",
                                         next->leader, before->leader));
  }
  const auto& wal = cluster_.host(place).disk().wal;
  auto last = last_.find(wal.branch);
  if (other || next->standbys.empty() || last == last_.end()) return;
  if (!cluster_.tree.contains(wal, last->second.commit)) return;  // it was set back since
  if (auto missing = lacking(*next, last->second.commit); missing > next->quorum) {
    cluster_.world.violation(
        fmt::format("{} names {} synchronous standbys, with a quorum of {}, {} of whom lack an "
                    "acknowledged commit",
                    next->leader, next->standbys.size(), next->quorum, missing));
  }
}

void SyncChecker::committing(const Txn& txn) {
  for (const auto& operation : txn.operations) {
    if (operation.what != Operation::What::put) continue;
    if (operation.key == "leader") granted(operation.value);
    if (operation.key == "sync") key_changes(operation.value);
  }
}

void SyncChecker::promotes(Place place) {
  auto& host = cluster_.host(place);
  const auto& settings = host.agent()->seen().dcs.cluster.settings();
  auto view = cluster_.etcd.view();
  const auto& key = view->sync;
  bool on = is_on() && settings.synchronous_mode != SynchronousMode::off;
  bool alone = !key || (key->leader == host.name() && key->standbys.empty());
  if (on && !alone && !host.outside_assumptions()) {
    cluster_.world.violation(host.name() + " promotes before the sync key names it alone");
  }
  std::erase_if(last_, [&](const auto& entry) {
    const auto& last = entry.second;
    if (cluster_.tree.contains(host.disk().wal, last.commit)) return false;
    if (!excused(last.at, last.waited_for)) {
      cluster_.world.violation(fmt::format(
          "{} promotes without the commit at {}, which was acknowledged at {:.3f} s in a "
          "synchronous mode",
          host.name(), last.commit.end.text(), in_seconds(last.at)));
    }
    return true;
  });
}

bool SyncChecker::excused(Moment at, int waited_for) const {
  auto wiped = std::count_if(wipes_.begin(), wipes_.end(), [&](Moment when) { return when >= at; });
  bool given_up =
      std::any_of(void_.begin(), void_.end(), [&](const Span& span) { return span.to >= at; });
  return given_up || wiped > waited_for;
}

}  // namespace pgsteady::sim
