// A primary that holds the lock and serves nobody: its commits hang, it does not answer, it crashes
// again and again, its promotion does not end, or what is left of it cannot be reaped. It gets as
// long as primary_start_timeout to come round; then another node leads, if one can.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kUnflushedLimit = seconds(2);  // then a commit of our own is tried
constexpr auto kFilesGoneFor = seconds(4);    // longer than between two looks at them
constexpr auto kLeastLimit = seconds(5);      // primary_start_timeout may be 0
constexpr auto kReapLimit = seconds(2);
constexpr auto kUnfit = seconds(30);  // a node that gave way leaves races to others for so long
constexpr auto kCrashWindow = seconds(60);
constexpr std::size_t kCrashLimit = 3;      // then it is handed over when it is up again
constexpr std::size_t kLastCrashLimit = 6;  // then as it is

lease::Duration limit_of(const Turn& turn) {
  return std::max<lease::Duration>(turn.settings().primary_start_timeout, kLeastLimit);
}

// Too long ago by how the policy counts, or not yet; wakes when it will be.
bool is_due(Turn& turn, lease::Instant since) {
  auto due = since + limit_of(turn);
  if (turn.now.boot >= due) return true;
  turn.wake_at(due);
  return false;
}

std::string waited(const Turn& turn, lease::Instant since) {
  return fmt::format("{} s", std::chrono::duration_cast<seconds>(turn.now.boot - since).count());
}

// WAL that stays unflushed may be a transaction that somebody left open. A commit of our own tells
// the difference, and flushes it; an idle server has nothing unflushed and is left alone.
bool commits_hang(Turn& turn) {
  const auto& server = turn.seen.server;
  auto& unflushed = turn.state.unflushed;
  if (server.insert_lsn <= server.flush_lsn) {
    unflushed.reset();
    return false;
  }
  if (!unflushed || unflushed->lsn != server.flush_lsn) {
    unflushed = Stall{server.flush_lsn, turn.now.boot};
  }
  if (turn.now.boot < unflushed->since + kUnflushedLimit) return false;
  const auto& probe = turn.seen.commit_probe;
  bool asked = probe && probe->sent_at >= unflushed->since;
  if (!asked) {
    if (!turn.seen.probing) turn.act(ProbeCommit{limit_of(turn) + seconds(1)});
    return false;
  }
  if (probe->committed || probe->refused) {
    unflushed->since = turn.now.boot;  // the next look shows more
    return false;
  }
  turn.say(Reason::Level::warning,
           fmt::format("commits have made no progress for {}", waited(turn, unflushed->since)));
  return is_due(turn, probe->sent_at);
}

// Its sessions go on with files that nobody can open any more, for up to a minute. Not on one look.
bool files_are_gone(Turn& turn) {
  auto& since = turn.state.files_gone_since;
  if (turn.seen.server.data != DataDirectory::empty) {
    since.reset();
    return false;
  }
  if (!since) since = turn.now.boot;
  auto due = *since + kFilesGoneFor;
  if (turn.now.boot < due) {
    turn.wake_at(due);
    return false;
  }
  if (lease::Instant(turn.seen.server.measured_at) >= due) return true;
  turn.out.measure_now = true;
  return false;
}

}  // namespace

bool others_could_lead(const Turn& turn) {
  const auto& failover = turn.cluster().failover;
  bool can = false;
  int voters = 0;
  for (const auto& member : turn.cluster().members) {
    if (member.name == turn.self.name || member.state != "running") continue;
    if (failover && failover->force && failover->candidate == member.name) return true;
    if (is_not_in_sync(turn, member.name)) continue;
    ++voters;
    can = can || !member.tags.nofailover();
  }
  return can && voters > votes_needed(turn);
}

bool is_unfit(const Turn& turn) {
  return turn.state.unfit_until && turn.now.boot < *turn.state.unfit_until;
}

// The lock follows when the server is reaped, or runs out with the lease when it cannot be.
bool give_way(Turn& turn, const std::string& why) {
  if (!others_could_lead(turn)) {
    turn.say(Reason::Level::error, why + ", and nobody else could lead");
    return false;
  }
  turn.say(Reason::Level::warning, "demoting self because " + why);
  turn.state.unfit_until = turn.now.boot + kUnfit;
  turn.act(Fence{why});
  return true;
}

// A primary that was up and is not, without having been asked to stop.
void absorb_crashes(Turn& turn) {
  auto& state = turn.state;
  if (!turn.process_exists()) state.promotion_failed = false;
  std::erase_if(state.crashes, [&](auto at) { return turn.now.boot - at > kCrashWindow; });
  if (!state.lock) {
    state.crashes.clear();
    state.was_up = false;
  } else if (turn.is_primary()) {
    state.was_up = true;
    state.promotion_failed = false;
  } else if (state.was_up && turn.seen.server.state != ServerState::hung) {
    state.was_up = false;
    bool asked = turn.seen.guard.phase == ServerPhase::stopping || turn.seen.job == JobKind::stop;
    if (!asked) state.crashes.push_back(turn.now.boot);
  }
}

// A process in the midst of a call to a hung disk does not die. It will not come back from that
// call either, so the lock may go; not by a release, which says that nothing is left.
void watch_reaping(Turn& turn) {
  auto& state = turn.state;
  if (!state.killing_since) state.killing_since = turn.now.boot;
  auto due = *state.killing_since + kReapLimit;
  if (turn.now.boot < due) return turn.wake_at(due);
  turn.say(Reason::Level::warning,
           "what is left of PostgreSQL is killed and does not end: leaving the lock to run out");
  state.unfit_until = turn.now.boot + kUnfit;
  state.lock.reset();
  state.giving_up = false;
  turn.act(LetGo{});
  turn.act(DropLease{false});
}

// Its crash recovery brings back every acknowledged commit, and a clean stop ships them: nothing is
// lost as long as the server lives that long.
bool rule_crashes(Turn& turn) {
  auto& state = turn.state;
  if (state.crashes.size() < kCrashLimit) return false;
  auto why = fmt::format("PostgreSQL crashed {} times within a minute", state.crashes.size());
  if (state.crashes.size() >= kLastCrashLimit) return give_way(turn, why);
  if (!turn.is_primary()) return false;
  state.successor = best_successor(turn);
  if (state.successor.empty()) return false;
  turn.say(Reason::Level::warning, "demoting self because " + why);
  state.handing_over = true;
  return rule_hand_over(turn);
}

// True when the server is being fenced or stopped.
bool rule_no_progress(Turn& turn) {
  auto& state = turn.state;
  if (turn.seen.server.state == ServerState::hung) {
    if (!state.hung_since) state.hung_since = turn.now.boot;
    auto why = "PostgreSQL has not answered for " + waited(turn, *state.hung_since);
    bool due = is_due(turn, *state.hung_since) && !MUTANT(hung_server_leads_on);
    if (due) return give_way(turn, why);
    turn.say(Reason::Level::warning, why);
    return false;
  }
  state.hung_since.reset();
  if (rule_crashes(turn)) return true;
  if (state.promotion_failed) return give_way(turn, "the promotion did not end");
  if (!turn.is_primary()) return false;
  if (files_are_gone(turn) && !MUTANT(leads_without_files)) {
    return give_way(turn, "the data directory is gone");
  }
  return commits_hang(turn) && !MUTANT(hung_commits_lead_on) &&
         give_way(turn, "commits make no progress");
}

// A stopped server whose files cannot be read, since a disk hangs or fails.
bool rule_blind_leader(Turn& turn) {
  auto& since = turn.state.blind_since;
  const auto& server = turn.seen.server;
  bool blind = turn.seen.guard.phase == ServerPhase::none &&
               (server.data == DataDirectory::unknown ||
                (server.data == DataDirectory::valid && !server.control));
  if (!blind) {
    since.reset();
    return false;
  }
  if (!since) since = turn.now.boot;
  return is_due(turn, *since) && others_could_lead(turn);
}

}  // namespace pgsteady::core
