// When may the lock of another node be taken? Step functions over what a candidate saw.
//
// A deleted key is no proof that the old primary is gone: somebody may have deleted it by hand or
// revoked its lease. Proofs are: a release note (written by a primary that has shut down), or that
// the lease has come to its natural end, since the guardian fences a margin before that. How long
// the lease would live is polled (LeaseTimeToLive, whole seconds rounded down), which gives an
// upper bound of its end. That bound is final once a poll was made within the margin before it: by
// then the old primary's deadline had passed, so that no later renewal can bring it back; the key
// may then be taken even before etcd has got round to deleting it, once a poll after the end has
// found the lease still overdue. Without any proof a full ttl is waited for.
//
// An etcd leader answers polls from memory, also one that was deposed and has not noticed, while
// the lease is renewed at the new one. So polls prove something only together with a linearizable
// read that was sent after them and carries the same raft term: then their leader still led.
#pragma once

#include <cstdint>
#include <optional>

#include "lease/terms.h"

namespace pgsteady::lease {

struct LeasePoll {
  std::int64_t lease = 0;
  std::int64_t remaining_seconds = 0;  // rounded down; below 0: the lease is gone
  std::int64_t granted_seconds = 0;
  std::uint64_t term = 0;  // raft term; a new etcd leader may have lengthened the lease
  Instant sent, received;
};

class Takeover {
 public:
  // A read sent at `sent` found this leader key. A key that is new starts everything over.
  void key_seen(const Epoch& key);
  void polled(const LeasePoll& poll);
  // A linearizable read sent at `sent` was answered under this raft term. To be told before what
  // it found.
  void read(Instant sent, std::uint64_t term);
  // The polls say that the lease is over; a read has to bear them out.
  bool wants_read() const { return unproven_.has_value() && !final_; }
  // A read sent at `sent` found no leader key. `ttl`: the longest that a holder may have been
  // granted.
  void key_gone(Instant sent, Duration ttl);
  // The absent key was given up by a primary that has shut down.
  void released();

  bool gone() const { return gone_at_.has_value(); }
  std::optional<Instant> gone_at() const { return gone_at_; }
  const Epoch& key() const { return key_; }  // the last one seen; invalid if none ever was
  // From when on the lock may be taken; nullopt while the key is there and may still be renewed.
  std::optional<Instant> safe_at() const;
  // Since when nobody has held the lock: figures for a race must be younger.
  std::optional<Instant> over_at() const;
  // The key is there, but no renewal can keep it any more.
  bool ends() const { return final_ && !gone_at_; }
  // Upper bound of the lease's end as polled; candidates poll faster as it comes near.
  std::optional<Instant> ends_before() const { return ends_before_; }

 private:
  Epoch key_;
  std::optional<Instant> ends_before_;
  bool final_ = false;  // no renewal can count any more
  struct Unproven {
    Instant sent;  // of the first poll that said so
    std::uint64_t term;
  };
  std::optional<Unproven> unproven_;
  std::optional<LeasePoll> last_;
  std::optional<Instant> gone_at_;
  Duration ttl_{};
  bool released_ = false;
};

}  // namespace pgsteady::lease
