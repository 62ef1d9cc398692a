// Looks at what the synchronous modes promise (I7 of docs/safety.md): what was acknowledged under
// them is lost only with more nodes than were waited for, and nobody is promoted whom the `sync`
// key does not name.
#pragma once

#include <map>
#include <vector>

#include "sim/etcd.h"
#include "sim/wal.h"

namespace pgsteady::sim {

class Cluster;

class SyncChecker {
 public:
  explicit SyncChecker(Cluster& cluster) : cluster_(cluster) {}

  // A commit of this moment falls under the promise: it was waited for, or the key names its node.
  bool promised(Place place, int waited_for);
  void acknowledged(Place place, const WalPoint& commit, int waited_for);  // a promised one
  void committing(const Txn& txn);
  void promotes(Place place);
  void wiped() { wipes_.push_back(now()); }

  bool forced() const { return forced_; }  // the present leader, by an operator

  // An operator gives the promise up: by force, by deleting the key, by switching the mode off.
  void may_lose_all(Moment end) { void_.push_back({now(), end}); }
  bool excused(Moment at, int waited_for) const;

 private:
  struct Span {
    Moment from, to;
  };
  struct Last {  // of a branch
    WalPoint commit;
    Moment at;
    int waited_for = 0;
  };

  Moment now() const;
  bool is_on();
  void granted(const MemberName& name);
  void key_changes(const std::string& json);
  int lacking(const SyncState& sync, const WalPoint& commit);

  Cluster& cluster_;
  std::map<int, Last> last_;  // by branch
  std::vector<Moment> wipes_;
  std::vector<Span> void_;
  // How the present leader got the lock:
  bool forced_ = false;
  MemberName complete_;  // it released the lock with all of its WAL known to have an end
};

}  // namespace pgsteady::sim
