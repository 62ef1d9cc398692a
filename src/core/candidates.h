// Who may take over when an operator asks for it. Private to core/.
#pragma once

#include <string>
#include <vector>

#include "core/turn.h"

namespace pgsteady::core {

struct Candidate {
  MemberName name;
  std::string why_not;          // empty: it may take over
  bool by_wal = false;          // why_not compares WAL positions
  std::int64_t loss_bytes = 0;  // WAL known to exist elsewhere that it does not have
  std::optional<Lsn> sent;      // how far this leader's stream to it has been written
};

// The peers' answers, asked for no earlier than `when`; nullptr while they are asked.
const PeerRound* round_since(Turn& turn, lease::Instant when);

// Everybody but the leader. With `force` only what cannot run at all is refused.
std::vector<Candidate> assess(const Turn& turn, const PeerRound& round, bool force);

// Empty when the wanted member (any, if empty) may take over.
std::string why_none(const std::vector<Candidate>& candidates, const MemberName& wanted);

// A node measures itself once a loop: what WAL positions say against a candidate, or that there is
// no stream (`no_stream`), counts when it has held for longer than that since `asked_at`. Wakes the
// turn to look again.
bool may_pass(Turn& turn, const std::vector<Candidate>& candidates, lease::Instant asked_at,
              bool no_stream = false);

}  // namespace pgsteady::core
