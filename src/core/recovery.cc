// A replica whose own data leads nowhere is cloned anew by itself: when it cannot start, or when
// its leader no longer has the WAL that it needs. A leader never is: these rules are asked only
// under somebody else's leader key. A clone costs the cluster a copy until it is done, so each
// needs a proof, each is written down before the data is given up, and there are few in a day.
#include <array>

#include "base/text.h"
#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kStallLimit = seconds(5);
constexpr auto kStartStallLimit = seconds(30);
constexpr auto kAskLeaderAgain = seconds(10);
constexpr auto kShortLife = seconds(60);
constexpr auto kControlPatience = seconds(10);
constexpr auto kDay = std::chrono::hours(24);
// Since the clone before: the second and the third of a day wait, a fourth is not made.
constexpr std::array<std::chrono::seconds, 3> kPauses = {seconds(0), seconds(60), seconds(600)};

// The server says that it failed for a reason that other data would not change.
bool clone_would_not_help(const std::string& complaint) {
  static constexpr std::array kWords = {
      "could not bind",
      "could not create any TCP/IP sockets",
      "could not create lock file",
      "lock file",
      "shared memory",
      "could not create semaphores",
      "Cannot allocate memory",
      "No space left on device",
      "Permission denied",
      "invalid value for parameter",
      "unrecognized configuration parameter",
      "pg_hba.conf",
      "private key file",
      "certificate",
  };
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](const char* words) { return contains(complaint, words); });
}

bool wal_is_gone(const std::string& complaint) {
  return contains(complaint, "has already been removed");
}

Lsn leader_position(const Turn& turn) {
  const auto& cluster = turn.cluster();
  Lsn position = cluster.status ? cluster.status->optime : Lsn{};
  const auto* leader = cluster.member(cluster.leader->name);
  if (leader && leader->xlog_location) position = std::max(position, *leader->xlog_location);
  return position;
}

// Time stamps that lie in the future, after the clock was set back, count as well.
bool may_reclone(Turn& turn, const std::string& why) {
  std::size_t count = 0;
  WallTime latest{};
  for (auto at : turn.seen.reclones) {
    if (turn.now.wall - at >= kDay) continue;
    ++count;
    latest = std::max(latest, at);
  }
  if (count >= kPauses.size()) {
    turn.say(Reason::Level::error,
             fmt::format("{}; not cloning again: {} clones within a day did not help\n"
                         "hint: look at the server's log and its disk, then reinitialize this node",
                         why, count));
    return false;
  }
  auto wait = std::chrono::ceil<seconds>(latest + kPauses[count] - turn.now.wall);
  if (count == 0 || wait <= seconds(0)) return true;
  turn.say(Reason::Level::warning, fmt::format("{}; cloning again in {} s", why, wait.count()));
  turn.wake_in(std::min<lease::Duration>(wait, seconds(10)));
  return false;
}

void prove(Turn& turn, const UpstreamMember& leader, std::string why) {
  turn.state.reclone_why = std::move(why);
  turn.state.reclone_for = leader.name;
}

// What is proven against this leader; empty: nothing.
std::string proof(Turn& turn, const UpstreamMember& leader) {
  auto& state = turn.state;
  if (state.reclone_for != leader.name) state.reclone_why.clear();
  if (!state.reclone_why.empty()) return state.reclone_why;
  if (state.start.failures + state.short_lives < kStartAttempts) return {};
  const auto& complaint = turn.seen.server.complaint;
  if (clone_would_not_help(complaint)) {
    turn.say(Reason::Level::error,
             fmt::format("PostgreSQL does not start, and a new clone would not help: {}\n"
                         "hint: correct that on this node; it is tried again",
                         complaint));
    return {};
  }
  return complaint.empty() ? "PostgreSQL does not start"
                           : fmt::format("PostgreSQL does not start ({})", complaint);
}

// The standby is stopped first; the clone follows when it is gone.
bool stop_to_clone(Turn& turn, const UpstreamMember& leader, std::string why) {
  if (!may_reclone(turn, why)) return false;
  turn.say(Reason::Level::warning, why + "; stopping to be cloned anew");
  prove(turn, leader, std::move(why));
  turn.act(StopServer{StopServer::Mode::fast, false, seconds(10)});
  return true;
}

}  // namespace

bool leader_serves(const Turn& turn) {
  const auto* member = turn.cluster().member(turn.cluster().leader->name);
  return member && member->role == "primary" && member->state == "running";
}

void clone_from(Turn& turn, const UpstreamMember& leader, const std::string& why) {
  auto& backoff = turn.state.clone;
  if (backoff.waits(turn.now.boot)) return turn.wake_at(backoff.until);
  // Before the cluster has its name, its roles may not be there yet.
  if (!leader_serves(turn) || !turn.cluster().system_id()) {
    turn.say("waiting for leader to bootstrap");
    return;
  }
  if (turn.seen.server.data == DataDirectory::valid && is_in_sync(turn)) {
    return turn.say("not giving my copy up yet: the leader still counts on it for commits");
  }
  if (!why.empty()) turn.say(Reason::Level::warning, why + "; cloning anew");
  auto source = source_for_cloning(turn, leader);
  turn.say(fmt::format("trying to bootstrap from {} '{}'",
                       source.name == leader.name ? "leader" : "replica", source.name));
  turn.act(Clone{source, why});
}

// Other data, or a refusal before anything was touched: either way the server is tried afresh.
void absorb_clone(Turn& turn) {
  auto& state = turn.state;
  state.start.succeeded();
  state.short_lives = 0;
  state.stall.reset();
  state.start_stall.reset();
  state.reclone_why.clear();
}

// A standby may answer for a while before it meets the page that ends it.
void absorb_deaths(Turn& turn) {
  auto& state = turn.state;
  if (turn.is_standby()) {
    if (!state.up_since) state.up_since = turn.now.boot;
    if (turn.now.boot - *state.up_since >= kShortLife) state.short_lives = 0;
    return;
  }
  bool asked_to_end = turn.seen.guard.phase == ServerPhase::stopping ||
                      turn.seen.guard.phase == ServerPhase::killing ||
                      turn.seen.job == JobKind::stop;
  if (asked_to_end || turn.is_primary()) state.up_since.reset();
  if (turn.seen.guard.phase != ServerPhase::none || !state.up_since) return;
  if (!turn.seen.server.control) return;  // what it says of its end is read with it
  bool soon = turn.now.boot - *state.up_since < kShortLife;
  if (soon && !turn.seen.server.complaint.empty()) {
    state.short_lives += 1;
    turn.say(Reason::Level::error,
             "PostgreSQL ended soon after it came up: " + turn.seen.server.complaint);
  }
  state.up_since.reset();
}

// True when the standby is on its way down.
bool rule_wal_missing(Turn& turn, const UpstreamMember& leader) {
  const auto& server = turn.seen.server;
  auto& stall = turn.state.stall;
  const Lsn at = server.last_lsn();
  bool behind = leader_position(turn) > at && !server.replaying && !server.replay_paused;
  if (!behind || !leader_serves(turn) || turn.self.tags.nostream()) {
    stall.reset();
    return false;
  }
  if (!stall || stall->lsn != at) stall = Stall{at, turn.now.boot};
  if (turn.now.boot < stall->since + kStallLimit) return false;
  if (turn.state.upstream && turn.state.upstream->name != leader.name) {
    turn.say(Reason::Level::warning,
             fmt::format("no WAL comes from {}", turn.state.upstream->name));
    turn.state.cascade_failed_at = turn.now.boot;
    stall.reset();
    turn.wake_at(turn.now.boot);
    return false;
  }
  const auto& answer = turn.seen.wal_answer;
  bool asked = answer && answer->lsn == at && answer->asked_at >= stall->since;
  if (!asked || turn.now.boot - answer->asked_at > kAskLeaderAgain) {
    if (!turn.seen.wal_asked) turn.act(AskForWal{leader, at});
    return false;
  }
  // Measured since, and nothing has come in.
  bool outdated = lease::Instant(server.measured_at) <= answer->asked_at;
  if (answer->present || outdated) {
    turn.say(fmt::format("no WAL comes in after {}, {} has it", at.text(), leader.name));
    return false;
  }
  return stop_to_clone(turn, leader,
                       fmt::format("{} no longer has the WAL after {}", leader.name, at.text()));
}

// A standby that has not become consistent answers nobody; its log tells what it lacks, and the
// titles of its processes whether it still gets anywhere.
bool rule_stuck_start(Turn& turn, const UpstreamMember& leader) {
  const auto& server = turn.seen.server;
  auto& stall = turn.state.start_stall;
  bool serves = leader_serves(turn);
  bool waits = serves && !server.refusal.empty() && !server.recovering.empty() && !server.receiving;
  if (!waits || !stall || stall->segment != server.recovering) stall.reset();
  if (waits && !stall) stall = StartStall{server.recovering, server.refused_at, turn.now.boot};
  bool gone = serves && (wal_is_gone(server.complaint) || wal_is_gone(server.refusal));
  bool stuck = stall && turn.now.boot >= stall->since + kStartStallLimit &&
               server.refused_at != stall->refused_at && !MUTANT(starts_for_ever);
  if (!gone && !stuck) return false;
  const auto& why = server.refusal.empty() ? server.complaint : server.refusal;
  return stop_to_clone(turn, leader, "PostgreSQL cannot start up (" + why + ")");
}

// The files are there, and pg_controldata does not make sense of them.
bool rule_unreadable_control(Turn& turn, const UpstreamMember& leader) {
  auto& since = turn.state.unreadable_since;
  if (turn.seen.server.control) {
    since.reset();
    return false;
  }
  turn.out.measure_now = true;
  if (!since) since = turn.now.boot;
  turn.wake_in(seconds(1));
  if (turn.now.boot < *since + kControlPatience) return true;
  if (proof(turn, leader).empty()) prove(turn, leader, "pg_control cannot be read");
  (void)rule_reclone(turn, leader);
  return true;
}

// Asked before a stopped standby is started; true when that has to wait.
bool rule_reclone(Turn& turn, const UpstreamMember& leader) {
  auto why = proof(turn, leader);
  if (why.empty() || !leader_serves(turn) || !may_reclone(turn, why)) return false;
  clone_from(turn, leader, why);
  return true;
}

}  // namespace pgsteady::core
