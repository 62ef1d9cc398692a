#include "sim/checker.h"

#include <algorithm>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kBeforeLoss = seconds(30);  // a fault may show only after it has gone

}  // namespace

// I: at most one node can acknowledge, at any instant of true time.
void Checker::writability_changed(Place) {
  std::vector<Place> writable;
  bool outside = false;
  for (Place place = 0; place < cluster_.nodes(); ++place) {
    if (!cluster_.host(place).server().can_acknowledge()) continue;
    writable.push_back(place);
    outside = outside || cluster_.host(place).outside_assumptions();
  }
  if (writable.size() < 2) return;
  if (outside) return cluster_.world.reached("two primaries outside the assumptions");
  cluster_.world.violation(fmt::format("{} and {} can both acknowledge writes",
                                       cluster_.host(writable[0]).name(),
                                       cluster_.host(writable[1]).name()));
}

// Whoever gets the lock, the server of everybody else is fenced by then.
void Checker::check_grant(const MemberName& name) {
  for (Place place = 0; place < cluster_.nodes(); ++place) {
    auto& host = cluster_.host(place);
    if (host.name() == name || !host.server().could_acknowledge()) continue;
    if (host.outside_assumptions()) {
      cluster_.world.reached("a lock was granted beside a host that stood still");
      continue;
    }
    cluster_.world.violation(
        fmt::format("{} is granted the lock while {} is not fenced", name, host.name()));
  }
  grants_.push_back(cluster_.world.now());
}

void Checker::committing(Place from, const Txn& txn) {
  pause_.committing(from, txn);
  sync_.committing(txn);
  schedule_.committing(txn);
  for (const auto& operation : txn.operations) {
    if (operation.key != "leader" || operation.what != Operation::What::put) continue;
    const auto* before = cluster_.etcd.find("leader");
    cluster_.world.trace("etcd", "the leader key goes to {}{}", operation.value,
                         before ? ", from " + before->value : "");
    if (before && before->value != operation.value) {
      cluster_.world.reached("a lease was taken before etcd deleted the key");
    }
    check_grant(operation.value);
    bool same = before && before->value == operation.value;
    if (!same) last_key_revision_ = key_revision_;
    key_revision_ = cluster_.etcd.revision() + 1;
  }
}

void Checker::acknowledged(Place place, const WalPoint& commit, int waited_for) {
  auto& host = cluster_.host(place);
  bool outside = host.outside_assumptions();
  const auto* guardian = host.guardian();
  bool armed = guardian && guardian->armed() && host.now() < host.fenced_by();
  bool paused = guardian && guardian->suspended();
  if (!armed && !paused && !outside) {
    cluster_.world.violation(host.name() + " acknowledged a write without a deadline ahead");
  }
  pause_.acknowledged(place);
  auto now = cluster_.world.now();
  end_of_outage(now);
  bool promised = sync_.promised(place, waited_for);
  if (promised) sync_.acknowledged(place, commit, waited_for);
  acknowledgements_.push_back({now, place, commit, outside, promised, waited_for});
}

void Checker::end_of_outage(Moment now) {
  if (last_write_ != Moment{}) longest_outage_ = std::max(longest_outage_, now - last_write_);
  last_write_ = now;
}

void Checker::decided(Place place, const core::Observation& seen, const core::Decision& decision) {
  pause_.decided(place, seen, decision);
  schedule_.decided(place, seen, decision);
  auto& world = cluster_.world;
  const auto& takeover = decision.state.takeover;
  if (takeover.wants_read() && seen.dcs.term > 0 && !takeover.gone() && !seen.polls.empty() &&
      seen.polls.back().term < cluster_.etcd.term()) {
    world.reached("polls of a deposed etcd leader were not believed");
  }
  for (const auto& reason : decision.reasons) {
    if (reason.text.starts_with("not taking the lock for")) {
      world.reached("a promise kept a node from the lock");
    }
  }
  for (const auto& action : decision.actions) {
    bool rebuilds =
        std::holds_alternative<core::Clone>(action) || std::holds_alternative<core::Rewind>(action);
    if (rebuilds && (decision.state.lock || seen.guard.armed.valid())) {
      world.violation(cluster_.host(place).name() + " rebuilds its directory while it leads");
    }
  }
}

void Checker::check_tags(Place place) {
  const auto& name = cluster_.host(place).name();
  auto tags = cluster_.tags_of(name);
  if (tags.nofailover()) cluster_.world.violation(name + " promotes in spite of its tags");
  if (tags.failover_priority() > 1) cluster_.world.reached("a node with a priority was promoted");
}

// Against what the last leader said that it had written, and a node that is away may still have.
void Checker::check_lag(Place place) {
  auto& host = cluster_.host(place);
  const auto& tree = cluster_.tree;
  auto view = cluster_.etcd.view();
  auto limit = host.agent()->seen().dcs.cluster.settings().maximum_lag_on_failover_bytes;
  auto mine = host.disk().wal;
  bool told = view->status && view->status_revision > last_key_revision_;
  if (!told || view->status->optime - mine.end <= limit) return;
  for (Place other = 0; other < cluster_.nodes(); ++other) {
    auto& peer = cluster_.host(other);
    auto theirs = peer.disk().wal;
    if (other == place || !peer.belongs() || theirs.branch < 0 || peer.disk().marker) continue;
    bool has_more = theirs.end - mine.end > limit &&
                    tree.system(theirs.branch) == tree.system(mine.branch) &&
                    tree.timeline(theirs.branch) >= tree.timeline(mine.branch);
    if (!has_more) continue;
    return cluster_.world.violation(
        fmt::format("{} promotes at {}, further behind than it may be: {} has WAL up to {}",
                    host.name(), mine.end.text(), peer.name(), theirs.end.text()));
  }
  cluster_.world.reached("a lag that nobody can make up was passed over");
}

// A primary does that should have been fenced: others still get WAL from it.
bool Checker::writes_outside_assumptions() const {
  for (Place place = 0; place < cluster_.nodes(); ++place) {
    auto& host = cluster_.host(place);
    if (host.server().could_acknowledge() && host.outside_assumptions()) return true;
  }
  return false;
}

void Checker::promotes(Place place) {
  sync_.promotes(place);
  auto& host = cluster_.host(place);
  const auto& tree = cluster_.tree;
  auto mine = host.disk().wal;
  auto figure = std::pair(tree.timeline(mine.branch), mine.end);
  if (!sync_.forced()) {
    check_tags(place);
    check_lag(place);
  }
  const auto* cluster_id = cluster_.etcd.find("initialize");
  if (cluster_id && cluster_id->value != tree.system(mine.branch).text()) {
    cluster_.world.violation(host.name() + " promotes another cluster's data");
  }
  // What others have more was never acknowledged, or SyncChecker misses it.
  auto mode = host.agent()->seen().dcs.cluster.settings().synchronous_mode;
  if (mode != SynchronousMode::off || writes_outside_assumptions()) return;
  // Nodes that could have answered its questions all the time, and are ahead. One that has just
  // given the lock up stands back, and one that comes up is not waited for any longer.
  for (Place other = 0; other < cluster_.nodes(); ++other) {
    auto& peer = cluster_.host(other);
    if (other == place || !peer.was_well(seconds(5)) || !host.was_well(seconds(5))) continue;
    if (!cluster_.network.was_whole(place, other, seconds(5))) continue;
    auto theirs = peer.disk().wal;
    bool counts = theirs.branch >= 0 && !peer.disk().marker;
    bool stands_back = cluster_.tags_of(peer.name()).nofailover() || peer.agent()->unfit() ||
                       peer.server().comes_up_for() > seconds(2);
    if (!counts || stands_back) continue;
    if (std::pair(tree.timeline(theirs.branch), theirs.end) <= figure) continue;
    cluster_.world.violation(fmt::format("{} promotes at {} although {} has WAL up to {}",
                                         host.name(), mine.end.text(), peer.name(),
                                         theirs.end.text()));
  }
}

// Whatever only this node has is kept before it is thrown away.
void Checker::directory_changes(Place place, const WalPoint& remains) {
  const auto& disk = cluster_.host(place).disk();
  const auto& tree = cluster_.tree;
  if (disk.data != DataDirectory::valid || disk.wal.branch < 0) return;
  if (tree.contains(remains, disk.wal)) return;
  for (const auto& kept : disk.kept) {
    if (tree.contains(kept, disk.wal)) {
      return cluster_.world.reached("diverged WAL was kept");
    }
  }
  for (Place other = 0; other < cluster_.nodes(); ++other) {
    if (other != place && tree.contains(cluster_.host(other).disk().wal, disk.wal)) return;
  }
  cluster_.world.violation(cluster_.host(place).name() +
                           " throws WAL away that nobody else has and that was not kept");
}

void Checker::may_lose(Moment end) {
  lossy_.push_back({cluster_.world.now(), end});
}

void Checker::may_lose_all(Moment end) {
  may_lose(end);
  sync_.may_lose_all(end);
}

// Lost at the first grant after it; a fault that may lose must have been there.
bool Checker::excused(const Acknowledged& lost) const {
  if (lost.promised) return sync_.excused(lost.at, lost.waited_for);
  if (lost.outside) return true;
  auto grant = std::find_if(grants_.begin(), grants_.end(),
                            [&](Moment grant_at) { return grant_at > lost.at; });
  auto until = grant == grants_.end() ? Moment::max() : *grant;
  return std::any_of(lossy_.begin(), lossy_.end(), [&](const Span& span) {
    return span.from <= until && span.to + kBeforeLoss >= lost.at;
  });
}

void Checker::check_lost(Place primary) {
  const auto& wal = cluster_.host(primary).disk().wal;
  for (const auto& acknowledged : acknowledgements_) {
    if (cluster_.tree.contains(wal, acknowledged.commit)) continue;
    ++lost_;
    if (excused(acknowledged)) continue;
    cluster_.world.violation(fmt::format(
        "the commit at {} on timeline {}, acknowledged by {} at {:.3f} s, is lost",
        acknowledged.commit.end.text(), cluster_.tree.timeline(acknowledged.commit.branch),
        cluster_.host(acknowledged.place).name(), in_seconds(acknowledged.at)));
    return;
  }
}

}  // namespace pgsteady::sim
