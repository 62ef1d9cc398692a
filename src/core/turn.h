// One decision in the making: what the rules read and write. Private to core/.
#pragma once

#include <fmt/format.h>
#include <algorithm>
#include <string>
#include <utility>

#include "core/decide.h"
#include "lease/mutant.h"

namespace pgsteady::core {

using std::chrono::milliseconds;
using std::chrono::seconds;

// etcd carries out a request within 7 s (5 s and two elections) or not at all.
constexpr auto kLateTransaction = seconds(10);
constexpr auto kOldRead = seconds(5);  // beyond loop_wait; reads are made more often than that
constexpr auto kMeasureSlack = milliseconds(500);  // beyond loop_wait too, for a measurement
constexpr int kStartAttempts = 3;                  // in vain: this server does not start

struct Turn;
lease::Instant bound_until(const Turn& turn);  // failsafe.cc

struct Turn {
  const Identity& self;
  const Observation& seen;
  Time now;
  Decision& out;
  State& state;

  Turn(const Identity& self_, const Observation& seen_, Time now_, Decision& out_)
      : self(self_), seen(seen_), now(now_), out(out_), state(out_.state) {}

  const ClusterView& cluster() const { return seen.dcs.cluster; }
  const DynamicConfig& settings() const { return cluster().settings(); }

  // A job of a kind that has just failed waits a moment; so does a transaction.
  void act(Action action) {
    if (auto kind = job_of(action)) {
      if (!may_begin(*kind)) return;
      job_started_ = true;
    }
    out.actions.push_back(std::move(action));
  }
  bool may_begin(JobKind kind) { return !held_back(state.job_after, kind); }
  void transact(TxnKind kind, Txn txn) {
    if (may_transact(kind)) out.actions.push_back(Transact{kind, std::move(txn)});
  }
  bool may_transact(TxnKind kind) {
    if (kind == TxnKind::acquire && now.boot < bound_until(*this)) {
      wake_at(bound_until(*this));
      return false;
    }
    return !in_flight(kind) && !held_back(state.txn_after, kind);
  }
  bool in_flight(TxnKind kind) const {
    return std::find(seen.transactions.begin(), seen.transactions.end(), kind) !=
           seen.transactions.end();
  }
  void say(Reason::Level level, std::string text) {
    out.reasons.push_back({level, std::move(text)});
  }
  void say(std::string text) { say(Reason::Level::info, std::move(text)); }
  void wake_at(lease::Instant when) { out.next_wake = std::min(out.next_wake, when); }
  void wake_in(lease::Duration d) { wake_at(now.boot + d); }

  // A server-changing job runs already, or this turn has asked for one.
  bool busy() const { return seen.job.has_value() || job_started_; }
  bool process_exists() const { return seen.guard.phase != ServerPhase::none; }
  bool server_running() const {
    return seen.guard.phase == ServerPhase::running && seen.server.state == ServerState::running;
  }
  bool is_primary() const { return server_running() && !seen.server.in_recovery; }
  bool is_standby() const { return server_running() && seen.server.in_recovery; }
  // Could the server acknowledge a write, now or as soon as it is up?
  bool may_write() const {
    return process_exists() && (seen.guard.as_primary || seen.guard.armed.valid() || is_primary());
  }
  // A fence that is off was switched off in a pause; before etcd was read nothing else is known.
  bool paused() const { return seen.dcs.read_at ? settings().pause : seen.guard.suspended; }
  // The lock's lease was renewed since it was taken, by this agent.
  bool proven() const {
    const auto& lease = seen.lease;
    return state.lock && lease.epoch == state.lock && lease.held_until &&
           *lease.held_until > now.boot;
  }
  bool armed() const { return state.lock && seen.guard.armed == *state.lock; }
  bool old_read() const {
    return seen.dcs.read_at && now.boot - *seen.dcs.read_at >= settings().loop_wait + kOldRead;
  }
  // etcd answered, not long ago (a host may have stood still since), and the answer includes our
  // own last write.
  bool fresh() const {
    bool stale = cluster().revision < state.written_revision && !MUTANT(old_reads_uncompared);
    return seen.dcs.reachable && seen.dcs.read_at && !stale && !old_read();
  }
  // The note of the last leader, if it has shut down; one of an earlier leader is none.
  const ReleaseNote* release() const {
    const auto& note = cluster().release;
    const auto& last = state.takeover.key();
    return note && (!last.valid() || note->leader_revision == last.mod_revision) ? &*note : nullptr;
  }
  bool leader_is_me() const { return cluster().leader && cluster().leader->name == self.name; }

 private:
  template <typename Kind>
  bool held_back(const std::map<Kind, lease::Instant>& after, Kind kind) {
    auto found = after.find(kind);
    if (found == after.end() || now.boot >= found->second) return false;
    wake_at(found->second);
    return true;
  }

  static std::optional<JobKind> job_of(const Action& action) {
    if (std::holds_alternative<RunInitdb>(action)) return JobKind::initdb;
    if (std::holds_alternative<Clone>(action)) return JobKind::clone;
    if (std::holds_alternative<Rewind>(action)) return JobKind::rewind;
    if (std::holds_alternative<StartServer>(action)) return JobKind::start;
    if (std::holds_alternative<StopServer>(action)) return JobKind::stop;
    if (std::holds_alternative<Promote>(action)) return JobKind::promote;
    if (std::holds_alternative<Reconfigure>(action)) return JobKind::reconfigure;
    if (std::holds_alternative<CreateUsers>(action)) return JobKind::create_users;
    return std::nullopt;
  }

  bool job_started_ = false;
};

// The rules. Those that return bool say whether the decision is complete.

// fence.cc
void absorb(Turn& turn);
void take_over_from_guardian(Turn& turn);
void rule_lost_lock(Turn& turn);
bool rule_unarmed_primary(Turn& turn);
bool rule_disarm(Turn& turn);
bool rule_deadline_near(Turn& turn);

// stop.cc
bool rule_stop_requested(Turn& turn);

// handover.cc
// Whether synchronous mode, if it is on, lets this member take over.
bool sync_lets_lead(const Turn& turn, const MemberName& name);
MemberName best_successor(const Turn& turn);
void release_when_down(Turn& turn);
bool rule_hand_over(Turn& turn);

// manual.cc
void absorb_manual(Turn& turn, const TxnEnd& end);
void duty_requests(Turn& turn);
void rule_failover_key(Turn& turn);
// Status 0: the time asked for is readable and lies ahead. `what`: the operation, for the text.
Reply check_schedule(const Turn& turn, const Request& request, const char* what);

// pause.cc
bool rule_pause(Turn& turn);
bool rule_fence_on(Turn& turn);
void take_lock_anew(Turn& turn);
std::string unfenced_others(const Turn& turn);

// restart.cc
void ask_restart(Turn& turn, const Request& request);
void cancel_restart(Turn& turn, const Request& request);
void ask_reinitialize(Turn& turn, const Request& request);
void duty_scheduled_restart(Turn& turn);
bool rule_restart(Turn& turn);
bool rule_reinitialize(Turn& turn);
void rule_bring_up(Turn& turn);

// reconfigure.cc
void put_config_back(Turn& turn);
void ask_config(Turn& turn, const Request& request);
void absorb_config(Turn& turn, const TxnEnd& end);

// bootstrap.cc
bool rule_bootstrap(Turn& turn);
void duty_finish_bootstrap(Turn& turn);

// leader.cc
void rule_lease(Turn& turn);
bool rule_has_lock(Turn& turn);
void keep_key_on_lease(Turn& turn);
void keep_lock_in_pause(Turn& turn);

// failsafe.cc
bool on_promises(const Turn& turn);
bool keeps_lock_on_promises(Turn& turn);
void duty_failsafe(Turn& turn);
void take_over_promises(Turn& turn);
void drop_promises(Turn& turn);
bool rule_not_listed(Turn& turn);

// progress.cc
bool others_could_lead(const Turn& turn);
bool is_unfit(const Turn& turn);
bool give_way(Turn& turn, const std::string& why);
void absorb_crashes(Turn& turn);
void watch_reaping(Turn& turn);
bool rule_no_progress(Turn& turn);
bool rule_blind_leader(Turn& turn);

// sync.cc
bool know_sync(Turn& turn);
void duty_sync(Turn& turn);
bool rule_sync_key_first(Turn& turn);
bool recall_sync(Turn& turn);
int votes_needed(const Turn& turn);  // of others, by whoever takes the lock
void forget_sync(Turn& turn);
bool is_not_in_sync(const Turn& turn, const MemberName& name);  // so it may not take over
bool is_in_sync(const Turn& turn);  // commits may rest on this standby's copy
bool rule_not_in_sync(Turn& turn);
bool has_votes(Turn& turn, const PeerRound& round);

// lag.cc. maximum_lag_on_failover is held against the position that the last leader wrote of itself
// (status.optime), and when nobody comes within the limit of it, nobody is promoted without being
// told to. But a position that the last leader did not write, though it served for ten seconds, is
// an earlier leader's or another cluster's; and WAL that nobody has who could have it will not come
// back: neither blocks for ever. `free_at`: since when the lock can be taken; `round`: asked later.
bool too_far_behind(Turn& turn, const PeerRound& round, lease::Instant free_at);

// race.cc
bool is_ahead(const PeerFigure& peer, const LocalServer& server);
bool is_named(const Turn& turn);
void acquire(Turn& turn);
bool starts_as_primary(const Turn& turn);
void reserve_timeline(Turn& turn, Txn& txn);  // the one that a promotion is to make
bool rule_leader_key_is_mine(Turn& turn);
bool rule_no_leader(Turn& turn);
void rule_stale_leader(Turn& turn);

// recovery.cc
void absorb_deaths(Turn& turn);
void absorb_clone(Turn& turn);
void clone_from(Turn& turn, const UpstreamMember& leader, const std::string& why = {});
bool rule_wal_missing(Turn& turn, const UpstreamMember& leader);
bool rule_stuck_start(Turn& turn, const UpstreamMember& leader);
bool rule_unreadable_control(Turn& turn, const UpstreamMember& leader);
bool rule_reclone(Turn& turn, const UpstreamMember& leader);
bool leader_serves(const Turn& turn);

// twin.cc
std::optional<SystemId> own_system_id(const Turn& turn);  // of the data that is there
bool rule_foreign_system(Turn& turn);
bool rule_twin(Turn& turn);

// slots.cc
MemberName slot_keeper(const Turn& turn, const Tags& tags);
void duty_slots(Turn& turn);

// upstream.cc
bool leads_back(const Turn& turn, const MemberName& member, const MemberName& from);
std::optional<UpstreamMember> address_of(const Turn& turn, const MemberName& name);
std::optional<UpstreamMember> upstream_of_leader(const Turn& turn);
std::optional<UpstreamMember> upstream_for_streaming(Turn& turn, const UpstreamMember& leader);
UpstreamMember source_for_cloning(const Turn& turn, const UpstreamMember& leader);

// follow.cc
void watch_lease(Turn& turn);
void duty_waiting_rewind(Turn& turn);
void rule_follow(Turn& turn);
void rule_no_dcs(Turn& turn);
void follow_in_pause(Turn& turn);

// publish.cc
void publish(Turn& turn);
std::string member_state(const Turn& turn);

}  // namespace pgsteady::core
