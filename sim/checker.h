// Looks at the whole world, which no node can, and says when an invariant of docs/safety.md does
// not hold.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/decide.h"
#include "sim/etcd.h"
#include "sim/liveness.h"
#include "sim/pause_checker.h"
#include "sim/schedule_checker.h"
#include "sim/sync_checker.h"
#include "sim/wal.h"

namespace pgsteady::sim {

class Cluster;

class Checker {
 public:
  explicit Checker(Cluster& cluster)
      : cluster_(cluster),
        sync_(cluster),
        pause_(cluster),
        schedule_(cluster),
        liveness_(cluster) {}

  // --- what happens, told by those to whom it happens --------------------------------------------
  void writability_changed(Place place);
  void committing(Place from, const Txn& txn);  // etcd is about to carry it out
  void acknowledged(Place place, const WalPoint& commit, int waited_for);
  void decided(Place place, const core::Observation& seen, const core::Decision& decision);
  void promotes(Place place);
  // The data directory of a node is about to keep only `remains` of its WAL.
  void directory_changes(Place place, const WalPoint& remains);

  void fault(bool of_etcd_alone, int by) { liveness_.fault(of_etcd_alone, by); }
  void look() { liveness_.look(); }  // now and then

  // A fault has begun under which the last asynchronous commits of a primary may be lost: until
  // now, and for a while after `end`.
  void may_lose(Moment end);
  // An operator does what may lose even synchronous commits.
  void may_lose_all(Moment end);
  void wiped(Place) { sync_.wiped(); }

  // --- at the end --------------------------------------------------------------------------------
  void check_lost(Place primary);
  void check_schedule() { schedule_.check_end(); }
  std::size_t acknowledgements() const { return acknowledgements_.size(); }
  std::size_t lost() const { return lost_; }
  std::size_t grants() const { return grants_.size(); }
  Duration longest_outage() const { return longest_outage_; }
  void end_of_outage(Moment now);

 private:
  struct Acknowledged {
    Moment at;
    Place place;
    WalPoint commit;
    bool outside;
    bool promised;  // by a synchronous mode
    int waited_for;
  };
  struct Span {
    Moment from, to;
  };

  bool excused(const Acknowledged& lost) const;
  void check_grant(const MemberName& name);
  void check_tags(Place place);
  void check_lag(Place place);
  bool writes_outside_assumptions() const;

  Cluster& cluster_;
  SyncChecker sync_;
  PauseChecker pause_;
  ScheduleChecker schedule_;
  Liveness liveness_;
  std::vector<Acknowledged> acknowledgements_;
  std::vector<Span> lossy_;
  std::vector<Moment> grants_;
  std::int64_t key_revision_ = 0;       // of the leader key, as its holder put it last
  std::int64_t last_key_revision_ = 0;  // of the holder before
  std::size_t lost_ = 0;
  Moment last_write_{};
  Duration longest_outage_{};
};

}  // namespace pgsteady::sim
