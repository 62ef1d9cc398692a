// A way to break the rules under test, so that the campaign can show that it notices. Each hook
// changes what goes into core or lease, or what comes out of them, at the simulator's border; an
// empty one changes nothing. What a border cannot express is a variant compiled into the rules
// themselves.
#pragma once

#include <functional>
#include <string>

#include "core/decide.h"
#include "lease/guardian.h"

namespace pgsteady::sim {

struct Mutation {
  std::string name;

  // decide(): its input, and what came of it. `decided` may replace actions and state.
  std::function<void(core::Observation& seen, core::State& state)> before_decide;
  std::function<void(const core::Observation& seen, const core::State& before,
                     core::Decision& decided)>
      after_decide;
  // One action on its way to being carried out; false: it is left out.
  std::function<bool(core::Action& action)> before_action;

  // Renewal: the deadline as it goes to the guardian.
  std::function<void(lease::Instant& deadline, lease::Instant now, lease::Duration ttl)>
      before_extend;

  // Takeover: a poll of the remaining time.
  std::function<void(lease::LeasePoll& poll)> before_polled;

  // Guardian: what the agent asks for (false: not handed in).
  std::function<bool(lease::Request& request)> before_asked;

  // Agent: a promotion is not refused when its epoch is not armed.
  bool promotes_unarmed = false;
  // Agent: whether diverged WAL is kept before the directory is changed.
  bool keeps_diverged_wal = true;
};

}  // namespace pgsteady::sim
