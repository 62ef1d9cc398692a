// A simulated etcd of three members: one history of keys, leases whose ends are noticed late,
// raft terms, elections that start every lease anew, and a deposed leader that does not know it
// yet: it confirms KeepAlives and tells remaining times from what it last knew.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/view.h"
#include "lease/renewal.h"
#include "sim/clock.h"
#include "sim/network.h"

namespace pgsteady::sim {

constexpr int kEtcdMembers = 3;

struct EtcdRequest {
  enum class Kind {
    read,          // everything, linearizable
    check,         // the leader key, linearizable
    commit,        // txn
    grant,         // ttl_seconds
    revoke,        // lease
    time_to_live,  // lease; the leader answers from memory
    keep_alive,    // lease; the leader answers from memory
  };
  Kind kind{};
  Txn txn{};
  std::int64_t lease = 0;
  std::int64_t ttl_seconds = 0;
};

struct EtcdReply {
  bool ok = false;  // false: refused at once (the member is down)
  bool lease_gone = false;
  std::uint64_t term = 0;
  std::int64_t revision = 0;
  std::shared_ptr<const ClusterView> view;  // read
  bool succeeded = false;                   // commit: the compares held
  std::int64_t lease = 0;
  std::int64_t seconds = 0;  // grant, keep_alive: ttl; time_to_live: what remains, -1: gone
  std::int64_t granted_seconds = 0;
  lease::KeyCheck key;  // check
};

class Etcd {
 public:
  Etcd(World& world, Network& network, int nodes);

  using Done = std::function<void(const EtcdReply&)>;
  // From a node to a member and back. No answer at all is possible. `stream`: see Network.
  void ask(Place from, Actor* asker, int member, bool stream, EtcdRequest request, Done done);
  // Tells the node of each change, as long as the member that it watches at hears of it, or that
  // the watch has been cancelled.
  void watch(Place from, Actor* watcher, int member, std::function<void(std::int64_t)> changed,
             std::function<void()> cancelled);
  void unwatch(Place from);

  // Faults and operators:
  void stop_member(int member);
  void start_member(int member);
  void hang_member(int member, bool hangs);  // the others elect another leader without it
  void freeze(bool frozen);                  // all of it stands still; leases run on
  void elect();                              // another leader; leases start anew
  // The leader is cut off from the others and goes on believing for so long.
  void depose(Duration believes);
  void lose_answers(int per_mille) { lost_answers_ = per_mille; }  // of transactions that happened
  void hang_keepalives(bool hang) { keepalives_hang_ += hang ? 1 : -1; }  // reads go on
  void cancel_watches();  // as by a compaction, a restart, a change of permissions
  void delete_key(const std::string& key);
  void put_by_hand(const std::string& key, const std::string& value);
  void revoke_by_hand(std::int64_t lease);

  // What a checker may look at:
  const KeyValue* find(const std::string& key) const;
  std::int64_t revision() const { return revision_; }
  std::uint64_t term() const { return term_; }
  bool available() const { return leader_ >= 0 && frozen_ == 0; }
  int leader() const { return leader_; }
  Place place(int member) const { return nodes_ + member; }
  bool is_up(int member) const { return members_[static_cast<std::size_t>(member)].up; }
  std::shared_ptr<const ClusterView> view();
  // The config key as it could be read last: what the cluster is held to while there is none.
  const DynamicConfig& settings();
  // Run when a transaction is carried out, before it changes anything.
  std::function<void(Place from, const Txn& txn)> before_commit;

 private:
  struct Lease {
    std::int64_t ttl_seconds = 0;
    Moment expires{};
    int granter = 0;  // the member whose clock counts
  };
  struct Member {
    bool up = true;
    Actor actor;
    HostClock clock;
  };
  struct Watcher {
    Actor* actor = nullptr;
    std::uint64_t life = 0;
    int member = 0;
    std::uint64_t number = 0;
    std::function<void(std::int64_t)> changed;
    std::function<void()> cancelled;
  };
  // The leader that was deposed and has not noticed.
  struct Believer {
    int member = -1;
    std::uint64_t term = 0;
    std::int64_t revision = 0;
    std::map<std::int64_t, Lease> leases;
  };
  struct Waiting {
    Place from = 0;
    int member = 0;
    EtcdRequest request;
    std::function<void(const EtcdReply&)> reply;
  };

  bool led(int member) const;
  void serve(Place from, int member, const EtcdRequest& request, const Done& reply);
  EtcdReply carry_out(Place from, const EtcdRequest& request);
  EtcdReply believe(const EtcdRequest& request);
  EtcdReply remaining(const std::map<std::int64_t, Lease>& leases, std::int64_t lease) const;
  bool holds(const Compare& compare) const;
  void commit(Place from, const Txn& txn, EtcdReply& reply);
  void apply(const Operation& operation);
  void changed();
  void lose_leader();
  void come_to_lead(int member);
  Moment expiry(const Lease& lease) const;
  void expect_expiry();
  void expire();
  void remove_lease(std::int64_t lease);

  World& world_;
  Network& network_;
  int nodes_;
  Rng rng_;
  std::vector<Member> members_;
  int leader_ = 0;
  int isolated_ = -1;  // the member that is cut off from the others
  std::uint64_t term_ = 2;
  std::int64_t revision_ = 1;
  std::map<std::string, KeyValue> keys_;
  std::map<std::int64_t, Lease> leases_;
  std::int64_t next_lease_ = 1000;
  std::map<Place, Watcher> watchers_;
  std::uint64_t next_watcher_ = 0;
  Believer believer_;
  std::vector<Waiting> waiting_;
  int keepalives_hang_ = 0;
  int frozen_ = 0;
  int lost_answers_ = 0;
  std::uint64_t election_ = 0;
  bool expiry_expected_ = false;
  std::shared_ptr<const ClusterView> view_;
  DynamicConfig settings_;
};

}  // namespace pgsteady::sim
