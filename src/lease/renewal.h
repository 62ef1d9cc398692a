// When does a renewal count? The book-keeping of one lease's KeepAlives and of the checks of the
// leader key, as step functions. The thread that talks to etcd (src/dcs) calls them; so does the
// simulator.
//
// A KeepAlive alone proves little: a deposed etcd leader that has not noticed yet confirms it. So a
// renewal counts only when a linearizable read of the leader key, sent no earlier than the
// KeepAlive, found the key as we know it, and both answers carry the same raft term. Then the
// leader of that term was still the leader when the read was confirmed; any later leader starts all
// leases at their full length, later than our send time. The renewal counts from the KeepAlive's
// send time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lease/terms.h"

namespace pgsteady::lease {

// What the leader key held when a check read it. An absent key has mod_revision 0.
struct KeyCheck {
  std::string value;
  std::int64_t lease = 0;
  std::int64_t mod_revision = 0;
};

class Renewal {
 public:
  enum class State {
    none,        // no lease
    alive,       // a lease; says nothing about how long
    lease_lost,  // etcd says that the lease is gone: nothing can count any more
    key_lost,    // a linearizable read found another leader key than ours
  };

  // Forgets everything and watches over a new lease. `granted_at` is the send time of the grant.
  void adopt(std::int64_t lease, Duration granted_ttl, Instant granted_at);
  // From now on only checks that find exactly this key count, and a deadline exists from the first
  // renewal whose KeepAlive and check were both sent after this call's moment or before it: an
  // earlier KeepAlive of the same lease is as good. epoch.lease must be the adopted lease.
  void hold(const Epoch& epoch, std::string value);
  void let_go();  // the key is not ours any more; the lease goes on
  void drop();    // no lease any more

  // KeepAlives travel on streams (one per endpoint, numbered by the caller). Answers carry only id
  // and ttl, so an answer is credited to the oldest request of its stream that has none yet.
  void keepalive_sent(std::size_t stream, Instant now);
  void keepalive_answered(std::size_t stream, std::int64_t lease, std::int64_t ttl_seconds,
                          std::uint64_t term);
  void stream_broken(std::size_t stream);  // its unanswered requests will never be credited

  // A check is one Range of the leader key; the id ties the answer to it.
  std::uint64_t check_sent(Instant now);
  void check_answered(std::uint64_t id, const KeyCheck& found, std::uint64_t term);
  void check_failed(std::uint64_t id);

  State state() const { return state_; }
  std::int64_t lease() const { return lease_; }
  const std::optional<Epoch>& epoch() const { return epoch_; }
  Duration ttl() const { return ttl_; }
  // Send time of the last KeepAlive that counts (with a held key: proven by a check).
  std::optional<Instant> counted() const { return counted_; }
  // Only with a held key and at least one counted renewal.
  std::optional<Instant> held_until() const;

 private:
  struct Proof {
    Instant sent;
    std::uint64_t term;
  };

  void settle();

  State state_ = State::none;
  std::int64_t lease_ = 0;
  Duration ttl_{};
  std::optional<Epoch> epoch_;
  std::string value_;
  std::uint64_t next_check_ = 1;
  std::uint64_t first_check_of_epoch_ = 1;
  std::map<std::size_t, std::deque<Instant>> unanswered_;  // per stream, oldest first
  std::map<std::uint64_t, Instant> checks_;                // under way
  std::vector<Proof> keepalives_;                          // answered, the newest few
  std::vector<Proof> found_;                               // checks that found our key, newest few
  std::optional<Instant> counted_;
};

}  // namespace pgsteady::lease
