// Somebody else leads: stream from it, whatever that takes.
#include "core/ancestry.h"
#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kHistoryPatience = seconds(10);  // for a leader that publishes no history
// etcd tells the rest of a lease in whole seconds. Only polls that see the last one begin know its
// end better than that; with less left when it is overdue they have to be quick all the time.
constexpr auto kPointAgain = seconds(1);
constexpr auto kSeenToChange = milliseconds(2100);

Timeline leader_timeline(const Turn& turn) {
  return leader_serves(turn) ? turn.cluster().member(turn.cluster().leader->name)->timeline : 0;
}

// Where the timeline left the one before it, if that is known.
std::optional<Lsn> began(const LocalServer& server, Timeline timeline) {
  const auto& history = server.history;
  bool known = !history.empty() && history.back().timeline + 1 == timeline;
  return known ? std::optional(history.back().end) : std::nullopt;
}

// Where WAL goes on behind a page's header, all of it ends before the page.
Lsn without_page_header(Lsn lsn) {
  constexpr std::uint64_t kPage = 8192;
  constexpr std::uint64_t kLongestHeader = 40;
  auto into_page = lsn.value % kPage;
  return into_page <= kLongestHeader ? Lsn{lsn.value - into_page} : lsn;
}

WalPosition position(const Turn& turn) {
  const auto& server = turn.seen.server;
  WalPosition result;
  result.timeline = turn.server_running() ? server.timeline : server.control->newest_timeline();
  result.began = began(server, result.timeline);
  if (turn.server_running()) {
    result.end = server.last_lsn();
    return result;
  }
  const auto& control = *server.control;
  result.end = control.newest_lsn();
  result.end_known = control.cleanly_shut_down();
  result.was_primary = control.was_primary();
  return result;
}

// Diverged only when that is what the facts say for a while: history and timeline are published in
// two steps, and a walreceiver may be about to jump.
bool diverged(Turn& turn) {
  auto& since = turn.state.diverged_since;
  auto verdict = compare_with_leader(position(turn), leader_timeline(turn), turn.cluster().history);
  if (verdict == Ancestry::same || leader_timeline(turn) == 0) {
    since.reset();
    return false;
  }
  if (!since) since = turn.now.boot;
  if (verdict == Ancestry::diverged) return true;
  return turn.now.boot - *since > kHistoryPatience && !turn.server_running();
}

// A server that was rewound, or crashed, has pages of all WAL up to a certain point of a certain
// timeline. With the WAL of a leader that parted from that timeline before, it can never be whole:
// PostgreSQL ends with a PANIC where it notices, and does not notice a timeline of the same number.
Ancestry of_its_pages(const Turn& turn) {
  const auto& control = *turn.seen.server.control;
  WalPosition needed;
  needed.timeline = control.newest_timeline();
  needed.began = began(turn.seen.server, needed.timeline);
  needed.end = without_page_header(control.newest_lsn());
  if (MUTANT(rewound_follows_anybody)) return Ancestry::same;
  return compare_with_leader(needed, leader_timeline(turn), turn.cluster().history);
}

// A server that starts up as a standby may stream from the leader: it may wait for WAL that only
// this leader has. True when it may not, or not yet.
bool rule_starting(Turn& turn, const UpstreamMember& leader) {
  if (turn.seen.server.state != ServerState::starting) return false;  // it was whole before it hung
  const auto& control = turn.seen.server.control;
  auto& since = turn.state.diverged_since;
  if (!control || leader_timeline(turn) == 0) {
    since.reset();
    turn.wake_in(milliseconds(100));
    return true;
  }
  auto verdict = of_its_pages(turn);
  if (verdict == Ancestry::same) {
    since.reset();
    return false;
  }
  if (!since) since = turn.now.boot;
  if (verdict == Ancestry::unknown) {
    turn.wake_at(std::max(*since + kHistoryPatience, turn.now.boot + seconds(1)));
    return turn.now.boot < *since + kHistoryPatience;
  }
  // After its own crash it replays what it has, and comes up; then follow_running() judges it.
  // Stopped now, it would look as if its pages ended where pg_control says.
  if (control->min_recovery.value == 0 || turn.paused()) return true;
  turn.say(fmt::format("cannot become consistent with the WAL of {}; stopping", leader.name));
  turn.act(StopServer{StopServer::Mode::immediate, false, seconds(10)});
  return true;
}

// On the leader's own timeline pg_rewind finds nothing to do, also when another node made it; and
// it takes a stop in the middle of crash recovery for a clean one.
bool can_rewind(const Turn& turn) {
  const auto& control = turn.seen.server.control;
  if (control && control->timeline == leader_timeline(turn)) return false;
  if (control && (control->stopped_in_crash_recovery() || control->within_backup)) return false;
  return turn.settings().use_pg_rewind && !turn.state.rewind_failed && control &&
         (control->checksums || control->wal_log_hints);
}

// A node whose history parted from the leader's. Its WAL is kept by whatever comes.
void reunite(Turn& turn, const UpstreamMember& leader) {
  const auto& settings = turn.settings();
  if (can_rewind(turn)) {
    if (turn.state.rewind.waits(turn.now.boot)) return turn.wake_at(turn.state.rewind.until);
    turn.say(fmt::format("running pg_rewind from {}", leader.name));
    turn.state.rewinds_from = leader.name;
    return turn.act(Rewind{leader, parted_at(position(turn).timeline, turn.cluster().history)});
  }
  bool failed = turn.state.rewind_failed;
  bool may_clone = failed ? settings.remove_data_directory_on_rewind_failure
                          : settings.remove_data_directory_on_diverged_timelines;
  if (may_clone) return clone_from(turn, leader);
  turn.say(Reason::Level::error,
           fmt::format("my WAL is not in the history of {}, and {}; not cloning because "
                       "remove_data_directory_on_{} is off\nhint: reinitialize this node",
                       leader.name, failed ? "pg_rewind failed" : "pg_rewind is not possible",
                       failed ? "rewind_failure" : "diverged_timelines"));
}

void start_standby(Turn& turn, const std::optional<UpstreamMember>& upstream) {
  auto& backoff = turn.state.start;
  if (backoff.waits(turn.now.boot)) return turn.wake_at(backoff.until);
  turn.say("starting as a secondary");
  turn.state.starting = true;
  turn.state.diverged_since.reset();
  turn.state.upstream = upstream;
  turn.state.slots_synced_at = {};  // other data than before has none of them
  turn.act(StartServer{false, upstream});
}

void follow_stopped(Turn& turn, const UpstreamMember& leader) {
  const auto& server = turn.seen.server;
  if (server.data == DataDirectory::unknown) {
    turn.out.measure_now = true;
    return;
  }
  if (server.data != DataDirectory::valid || turn.seen.interrupted_job)
    return clone_from(turn, leader);
  if (rule_unreadable_control(turn, leader)) return;
  if (leader_timeline(turn) == 0 && server.control->was_primary()) {
    turn.say(fmt::format("waiting for {} to serve before I follow", turn.cluster().leader->name));
    return;
  }
  if (rule_reclone(turn, leader)) return;
  // pg_control of a rewound server still looks like a primary's; its WAL does not. Another rewind
  // would end its recovery where its own WAL ends, and forget what it lacks.
  auto upstream = upstream_for_streaming(turn, leader);
  bool incomplete = turn.state.rewound || server.control->within_backup;
  if (incomplete && of_its_pages(turn) == Ancestry::diverged) {
    if (turn.state.rewound) turn.state.rewind_failed = true;  // as it is, nobody can use it
    return reunite(turn, leader);
  }
  if (incomplete) return start_standby(turn, upstream);
  if (diverged(turn)) return reunite(turn, leader);
  start_standby(turn, upstream);
}

std::string whom(const Turn& turn, const std::optional<UpstreamMember>& upstream) {
  if (!upstream) return "streaming from nobody (tag nostream)";
  if (upstream->name == turn.cluster().leader->name)
    return "following new leader " + upstream->name;
  return fmt::format("streaming from {} (tag replicatefrom)", upstream->name);
}

// Whether the configuration has to be written anew, for another upstream or another config key.
// `elsewhere`: the server streams from somewhere else, whatever it was told.
bool point_at(Turn& turn, const std::optional<UpstreamMember>& upstream, bool elsewhere = false) {
  auto& state = turn.state;
  if (elsewhere && turn.now.boot < state.pointed_at + kPointAgain) {
    turn.wake_at(state.pointed_at + kPointAgain);  // it takes notice, or never will
    elsewhere = false;
  }
  const auto& cluster = turn.cluster();
  bool changed = state.applied_config != cluster.config_revision && !cluster.config_kept;
  if (state.upstream == upstream && !changed && !elsewhere) return false;
  if (state.upstream != upstream || elsewhere) turn.say(whom(turn, upstream));
  if (changed) state.applied_config = cluster.config_revision;
  state.upstream = upstream;
  state.pointed_at = turn.now.boot;
  turn.act(Reconfigure{upstream});
  return true;
}

void follow_running(Turn& turn, const UpstreamMember& leader) {
  const auto& server = turn.seen.server;
  if (server.receiver_state == "streaming") turn.state.rewound = false;
  if (diverged(turn)) {
    if (turn.state.rewound) turn.state.rewind_failed = true;  // it did not help
    turn.say(fmt::format("my WAL is not in the history of {}; stopping to rewind", leader.name));
    turn.act(StopServer{StopServer::Mode::fast, false, seconds(10)});
    return;
  }
  auto upstream = upstream_for_streaming(turn, leader);
  auto address = upstream ? upstream->address.text() : "";
  if (point_at(turn, upstream, server.upstream != address)) return;
  if (rule_wal_missing(turn, leader)) return;
  duty_slots(turn);
  put_config_back(turn);
  turn.say(fmt::format("no action. I am ({}), a secondary, and following a leader ({})",
                       turn.self.name, leader.name));
}

}  // namespace

// Polls how long the leader's lease would live: when it should have been renewed, as the last poll
// tells, and quickly when it is overdue, so that its end is known to 50 ms.
void watch_lease(Turn& turn) {
  const auto& leader = turn.cluster().leader;
  if (!leader || leader->lease == 0) return;
  if (turn.state.takeover.wants_read()) turn.out.read_now = true;
  auto ttl = turn.settings().ttl;
  auto interval = turn.settings().loop_wait;
  auto ends = turn.state.takeover.ends_before();
  if (ends) {
    // A lease renewed in time never has less than this left.
    auto left = ttl - lease::renewal_interval(ttl) - milliseconds(500);
    bool overdue = turn.now.boot >= *ends - left;
    if (!overdue && left > kSeenToChange) return turn.wake_at(*ends - left);
    interval = overdue ? milliseconds(50) : milliseconds(250);
    if (!overdue) turn.wake_at(*ends - left);
  }
  auto due = turn.state.last_poll + interval - milliseconds(5);
  if (turn.now.boot >= due) {
    turn.state.last_poll = turn.now.boot;
    turn.act(PollLease{leader->lease});
    due = turn.now.boot + interval;
  }
  turn.wake_at(due);
}

// A rewind waits until its leader has made a checkpoint. When that leads no more, what this node
// has counts in the race, so its server has to be up.
void duty_waiting_rewind(Turn& turn) {
  if (turn.seen.job != JobKind::rewind || !turn.seen.job_waits || MUTANT(rewind_waits_on)) return;
  const auto& leader = turn.cluster().leader;
  const auto& from = turn.state.rewinds_from;
  if (leader && leader->name == from && !turn.state.takeover.ends()) return;
  turn.say(fmt::format("not waiting to rewind from {}: it leads no more", from));
  turn.act(CancelJob{});
}

void rule_follow(Turn& turn) {
  watch_lease(turn);
  if (turn.busy()) return;
  if (turn.state.takeover.ends() && !turn.process_exists()) return rule_no_dcs(turn);
  if (turn.leader_is_me()) return rule_no_dcs(turn);  // not by this life of ours: nobody to follow
  auto leader = upstream_of_leader(turn);
  if (!leader) {
    turn.say(fmt::format("Lock owner: {}; I am {}: no member of that name has an address yet",
                         turn.cluster().leader->name, turn.self.name));
    if (!turn.process_exists()) rule_no_dcs(turn);
    return;
  }
  if (turn.seen.guard.phase == ServerPhase::none) return follow_stopped(turn, *leader);
  if (turn.is_standby()) return follow_running(turn, *leader);
  if (turn.seen.guard.phase != ServerPhase::running || turn.seen.guard.as_primary) return;
  const auto& complaint = turn.seen.server.complaint;
  turn.say("PostgreSQL is still starting up" + (complaint.empty() ? "" : " (" + complaint + ")"));
  if (turn.seen.server.state == ServerState::stopped) {
    turn.out.measure_now = true;  // measured before it was started
    return;
  }
  if (rule_stuck_start(turn, *leader)) return;
  if (rule_starting(turn, *leader)) return;
  point_at(turn, upstream_for_streaming(turn, *leader));
}

// A standby that runs streams as it would without a pause; nothing is stopped, started or rewound.
void follow_in_pause(Turn& turn) {
  auto leader = upstream_of_leader(turn);
  bool other = leader && leader->name != turn.self.name;
  if (!other || turn.busy() || !turn.is_standby() || !turn.fresh() ||
      point_at(turn, upstream_for_streaming(turn, *leader))) {
    return turn.say("PAUSE: no action");
  }
  duty_slots(turn);
  turn.say(fmt::format("PAUSE: no action. I am ({}), a secondary, and following a leader ({})",
                       turn.self.name, leader->name));
}

// Without etcd, or without a leader, a whole data directory serves reads as a standby of nobody.
void rule_no_dcs(Turn& turn) {
  const auto& server = turn.seen.server;
  if (!turn.seen.dcs.reachable) turn.say(Reason::Level::warning, "DCS is not accessible");
  if (turn.process_exists() || turn.busy()) return;
  if (server.data == DataDirectory::unknown ||
      (server.data == DataDirectory::valid && !server.control)) {
    turn.out.measure_now = true;
    return;
  }
  if (server.data != DataDirectory::valid || turn.seen.interrupted_job) return;
  start_standby(turn, std::nullopt);
}

}  // namespace pgsteady::core
