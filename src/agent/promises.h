// The word that this node gives to a leader without etcd. The REST thread gives it, so that neither
// a slow decision nor a hung disk costs a leader its answer; the loop keeps it.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "lease/failsafe.h"

namespace pgsteady::agent {

// How long the promise binds, a header of the answer to POST /failsafe. A node that runs Patroni
// accepts without it, and so has promised nothing.
inline constexpr const char* kPromiseHeader = "promise-ms";

class Promises {  // lease::Promiser for two threads; its manual is there
 public:
  using Answer = lease::Promiser::Answer;

  void decided(const lease::Promiser::Standing& standing) {
    std::lock_guard lock(mutex_);
    promiser_.decided(standing);
  }
  Answer ask(const std::string& leader, const lease::Epoch& epoch, lease::Duration& length,
             lease::Instant now) {
    std::lock_guard lock(mutex_);
    return promiser_.ask(leader, epoch, length, now);
  }
  bool begin_taking(const std::optional<lease::Promise>& known) {
    std::lock_guard lock(mutex_);
    return promiser_.begin_taking(known);
  }
  std::optional<lease::Promise> promise() const {
    std::lock_guard lock(mutex_);
    return promiser_.promise();
  }

 private:
  mutable std::mutex mutex_;
  lease::Promiser promiser_;
};

}  // namespace pgsteady::agent
