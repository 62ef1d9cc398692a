// Asks the others for promises while the lease cannot be renewed, on a thread of its own: a round
// each renewal interval, all of them at once, from the moment at which a renewal is late. What the
// answers are worth is decided by lease::FailsafeRound; what they are worth goes straight to the
// guardian.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/promises.h"
#include "core/observation.h"

namespace pgsteady::agent {

struct AskerHooks {
  // On the asker's thread, while no task() can end; must not block. The deadline that all promise.
  std::function<void(const lease::Epoch&, lease::Instant deadline, lease::Duration ttl)> extend;
  // Whether the loop and the guardian show signs of life; while false nobody is asked.
  std::function<bool()> may_ask;
  // On the asker's thread, after each change.
  std::function<void(core::FailsafeFacts)> report;
};

class Asker {
 public:
  virtual ~Asker() = default;  // ends what is under way and joins the thread

  // Any thread. When it returns, nothing is extended any more for an earlier task.
  virtual void task(std::optional<core::FailsafeTask> task) = 0;
  // Any thread: a renewal of this epoch counted, and gave this deadline.
  virtual void renewed(const lease::Epoch& epoch, lease::Instant held_until) = 0;
};

std::unique_ptr<Asker> make_asker(MemberName name, std::string conn_url, std::string api_url,
                                  AskerHooks hooks);

}  // namespace pgsteady::agent
