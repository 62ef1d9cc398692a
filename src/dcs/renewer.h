// Renewing the lease, on a thread and channels of its own: no disk, no SQL, no lock shared with the
// loop. Talks to etcd; what its answers are worth is decided by lease::Renewal.
//
// Each renewal_interval(ttl) it sends a KeepAlive and, while a key is held, a linearizable Range of
// the leader key; one stream per endpoint; when an answer is late (a fraction of the interval) it
// sends again over the next endpoint, and goes on every 100 ms or so until a renewal counts.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "dcs/dcs.h"
#include "lease/renewal.h"

namespace pgsteady::dcs {

struct RenewalReport {
  lease::Renewal::State state = lease::Renewal::State::none;
  std::int64_t lease = 0;
  std::optional<lease::Epoch> epoch;         // the held key
  std::optional<lease::Instant> counted;     // send time of the last counted renewal
  std::optional<lease::Instant> held_until;  // the deadline, with a held key
  std::chrono::nanoseconds latency{};        // of the last counted renewal: send to proof
};

struct RenewerHooks {
  // Run on the renewal thread; must not block.
  // Each counted renewal of a held key: hand the new deadline to the guardian.
  std::function<void(const lease::Epoch&, lease::Instant deadline, lease::Duration ttl)> extend;
  // Whether the loop and the guardian show signs of life; while false nothing is sent.
  std::function<bool()> may_renew;
  // Run through Post on the loop's thread, after each change of state and each counted renewal.
  std::function<void(RenewalReport)> report;
};

class Renewer {
 public:
  virtual ~Renewer() = default;  // joins the thread; the lease is left to itself

  // From the loop's thread; carried out by the renewal thread at once and in order.
  virtual void adopt(std::int64_t lease, lease::Duration ttl, lease::Instant granted_at) = 0;
  virtual void hold(const lease::Epoch& epoch) = 0;  // the value is the member's name
  virtual void let_go() = 0;
  virtual void drop() = 0;
};

// The key that is checked is options.prefix + "leader"; `value` is the member's name.
std::unique_ptr<Renewer> make_renewer(Options options, std::string value, RenewerHooks hooks,
                                      Post post);

}  // namespace pgsteady::dcs
