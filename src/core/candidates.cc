// Whether a member may take over by hand, and what would be lost if it did.
#include "core/candidates.h"

#include <fmt/ranges.h>

namespace pgsteady::core {
namespace {

constexpr auto kMeasureAgain = milliseconds(100);  // while figures may change

void ask_others(Turn& turn) {
  std::vector<MemberName> others;
  for (const auto& member : turn.cluster().members) {
    if (member.name != turn.self.name) others.push_back(member.name);
  }
  turn.act(AskPeers{others});
}

PeerFigure own_figure(const Turn& turn) {
  const auto& server = turn.seen.server;
  PeerFigure figure;
  figure.name = turn.self.name;
  figure.answered = true;
  figure.running = turn.server_running();
  figure.primary = turn.is_primary();
  figure.nofailover = turn.self.tags.nofailover();
  figure.timeline = server.timeline;
  figure.lsn = server.last_lsn();
  return figure;
}

const ReplicationRow* stream_to(const Turn& turn, const MemberName& name) {
  if (!turn.is_primary()) return nullptr;
  for (const auto& row : turn.seen.server.replication) {
    if (row.application_name == name && row.state == "streaming" && row.flush_lsn) return &row;
  }
  return nullptr;
}

// The furthest that anybody's WAL is known to reach, and whose it is.
struct Frontier {
  Timeline timeline = 0;
  Lsn lsn;
  MemberName name;
};

Frontier frontier(const std::vector<PeerFigure>& figures, bool with_nofailover) {
  Frontier furthest;
  for (const auto& figure : figures) {
    if (!figure.answered || !figure.running || (figure.nofailover && !with_nofailover)) continue;
    if (std::pair(figure.timeline, figure.lsn) > std::pair(furthest.timeline, furthest.lsn)) {
      furthest = {figure.timeline, figure.lsn, figure.name};
    }
  }
  return furthest;
}

// Against a leader that serves: what it has not sent yet it sends before it goes, so only a lag
// that would take long counts. Its own view of the stream is newer than what peers tell.
Candidate against_leader(const Turn& turn, const PeerFigure& figure, const PeerFigure& leader) {
  Candidate candidate{figure.name, "", false, 0, {}};
  auto limit = turn.settings().maximum_lag_on_failover_bytes;
  auto lag = leader.lsn - figure.lsn;
  if (const auto* row = stream_to(turn, figure.name)) {
    candidate.sent = *row->flush_lsn;
    lag = turn.seen.server.write_lsn - *row->flush_lsn;
  } else if (figure.timeline != leader.timeline) {
    candidate.why_not =
        fmt::format("on timeline {}, and the leader on {}", figure.timeline, leader.timeline);
  } else if (leader.name != turn.self.name) {
    lag = 0;  // both told their figures at some moment of the last second: the leader knows better
  }
  if (lag > limit && !MUTANT(lagging_candidate)) {
    candidate.why_not =
        fmt::format("{} bytes behind, more than maximum_lag_on_failover ({})", lag, limit);
  }
  return candidate;
}

// Without one, whatever the candidate does not have is lost, and the race has its rules.
Candidate without_leader(const Turn& turn, const PeerFigure& figure,
                         const std::vector<PeerFigure>& figures) {
  Candidate candidate{figure.name, "", false, 0, {}};
  auto told = turn.cluster().status ? turn.cluster().status->optime : Lsn{};
  auto known = std::max(told, frontier(figures, true).lsn);
  candidate.loss_bytes = std::max<std::int64_t>(0, known - figure.lsn);
  auto furthest = frontier(figures, false);
  if (figure.timeline < furthest.timeline) {
    candidate.why_not = fmt::format("on timeline {}, and {} on {}", figure.timeline, furthest.name,
                                    furthest.timeline);
  } else if (figure.timeline == furthest.timeline && figure.lsn < furthest.lsn) {
    candidate.why_not = fmt::format("behind {}: {} bytes of WAL would be lost", furthest.name,
                                    furthest.lsn - figure.lsn);
  } else if (told - figure.lsn > turn.settings().maximum_lag_on_failover_bytes) {
    candidate.why_not =
        fmt::format("behind the last leader: {} bytes of WAL would be lost", candidate.loss_bytes);
  }
  return candidate;
}

// What nobody can pass over.
std::string limitation(const PeerFigure& figure) {
  if (!figure.answered) return "not reachable";
  if (!figure.running) return "not running";
  return "";
}

}  // namespace

const PeerRound* round_since(Turn& turn, lease::Instant when) {
  const auto& round = turn.seen.peers;
  if (round && round->asked_at >= when) return &*round;
  if (turn.seen.peers_asked) return nullptr;
  ask_others(turn);
  return nullptr;
}

std::vector<Candidate> assess(const Turn& turn, const PeerRound& round, bool force) {
  auto figures = round.peers;
  figures.push_back(own_figure(turn));
  const auto& leader_key = turn.cluster().leader;
  const PeerFigure* leader = nullptr;
  for (const auto& figure : figures) {
    if (leader_key && figure.name == leader_key->name && figure.primary) leader = &figure;
  }
  std::vector<Candidate> candidates;
  for (const auto& figure : figures) {
    if (leader_key && figure.name == leader_key->name) continue;
    auto candidate =
        leader ? against_leader(turn, figure, *leader) : without_leader(turn, figure, figures);
    candidate.by_wal = !candidate.why_not.empty();
    if (candidate.why_not.empty() && figure.nofailover) {
      candidate.why_not = "not allowed to promote (tag nofailover)";
    }
    if (candidate.why_not.empty() && !sync_lets_lead(turn, figure.name)) {
      candidate.why_not = "not a synchronous standby";
    }
    if (force) {
      candidate.why_not.clear();
      candidate.by_wal = false;
    }
    if (auto limit = limitation(figure); !limit.empty()) {
      candidate.why_not = limit;
      candidate.by_wal = false;
    }
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

std::string why_none(const std::vector<Candidate>& candidates, const MemberName& wanted) {
  std::vector<std::string> lines;
  for (const auto& candidate : candidates) {
    if (!wanted.empty() && candidate.name != wanted) continue;
    if (candidate.why_not.empty()) return "";
    lines.push_back(candidate.name + " is " + candidate.why_not);
  }
  if (lines.empty()) return wanted.empty() ? "there is no other member" : wanted + " is unknown";
  return fmt::format("{}", fmt::join(lines, "; "));
}

bool may_pass(Turn& turn, const std::vector<Candidate>& candidates, lease::Instant asked_at,
              bool no_stream) {
  bool by_wal = std::any_of(candidates.begin(), candidates.end(),
                            [](const Candidate& candidate) { return candidate.by_wal; });
  auto give_up_at = asked_at + turn.settings().loop_wait + kMeasureSlack;
  if ((!by_wal && !no_stream) || turn.now.boot >= give_up_at) return false;
  turn.wake_in(kMeasureAgain);
  if (lease::Instant(turn.seen.server.measured_at) + kMeasureAgain <= turn.now.boot) {
    turn.out.measure_now = true;
  }
  if (!turn.seen.peers_asked && turn.seen.peers->asked_at + kMeasureAgain <= turn.now.boot) {
    ask_others(turn);
  }
  return true;
}

}  // namespace pgsteady::core
