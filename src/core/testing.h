// What the rules' tests share: a healthy cluster of three as seen by one of its nodes, to be
// changed into the case at hand. Tests only.
#pragma once

#include <string>
#include <vector>

#include "core/decide.h"

namespace pgsteady::core::testing {

using namespace std::chrono_literals;

constexpr std::int64_t kLease = 11;
constexpr lease::Epoch kEpoch{kLease, 100};
constexpr SystemId kSystem{7301234567890123456};

inline lease::Instant at(std::chrono::milliseconds ms) {
  return lease::Instant(ms);
}

inline Member member(const MemberName& name, std::string role, std::int64_t lease) {
  Member m;
  m.name = name;
  m.conn_url = "postgres://10.0.0." + name.substr(2) + ":5432/postgres";
  m.api_url = "http://10.0.0." + name.substr(2) + ":8008/patroni";
  m.state = "running";
  m.role = std::move(role);
  m.version = "4.1.4";
  m.timeline = 1;
  m.lease = lease;
  return m;
}

// Node pg1 at 100 s: lease 11 granted, PostgreSQL running; pg1 leads unless told otherwise.
struct Case {
  Identity self;
  State state;
  Observation seen;
  Time now{at(100s), WallTime(1'800'000'000s)};

  Case() {
    self.name = "pg1";
    self.conn_url = "postgres://10.0.0.1:5432/postgres";
    self.api_url = "http://10.0.0.1:8008/patroni";
    self.version = "4.1.4";
    self.bootstrap_config = R"({"ttl":5})";
    state.begun = state.name_is_ours = state.registered = true;
    state.checkpointed = 1;
    auto& cluster = seen.dcs.cluster;
    cluster.revision = 200;
    cluster.initialize = kSystem.text();
    cluster.config = dynamic_config_from_object({{"ttl", 5}});
    cluster.config_revision = 5;
    state.applied_config = 5;
    cluster.members = {member("pg1", "primary", kLease), member("pg2", "replica", 12),
                       member("pg3", "replica", 13)};
    cluster.failsafe = FailsafeMembers{};
    for (const auto& m : cluster.members) (*cluster.failsafe)[m.name] = m.api_url;
    cluster.failsafe_revision = 6;
    seen.dcs.asked = seen.dcs.reachable = true;
    seen.dcs.read_at = at(99990ms);
    seen.lease = {lease::Renewal::State::alive, kLease, 5s, {}, {}};
    seen.server.measured_at = at(99990ms).time_since_epoch();
    seen.server.data = DataDirectory::valid;
    seen.server.system_id = kSystem;
    seen.server.timeline = 1;
    leads();
  }

  Case& leads() {
    seen.dcs.cluster.leader = LeaderKey{"pg1", kLease, kEpoch.mod_revision};
    state.lock = kEpoch;
    state.reserved_timeline = 2;
    seen.lease.epoch = kEpoch;
    seen.lease.held_until = at(103s);
    seen.guard = {ServerPhase::running, true, kEpoch, at(103s), 5s, {}};
    running_primary();
    return *this;
  }

  // Time goes by, and etcd is read.
  void later(lease::Duration time) {
    now.boot += time;
    seen.dcs.read_at = now.boot - 10ms;
  }

  Case& follows(const MemberName& leader = "pg2") {
    no_lock();
    seen.dcs.cluster.leader = LeaderKey{leader, 12, 90};
    for (auto& m : seen.dcs.cluster.members) m.role = m.name == leader ? "primary" : "replica";
    running_standby();
    seen.server.upstream = "10.0.0." + leader.substr(2) + ":5432";
    seen.server.receiver_state = "streaming";
    state.upstream = UpstreamMember{leader, HostPort{"10.0.0." + leader.substr(2), 5432}};
    state.old_slots_dropped = true;
    return *this;
  }

  // The leader key is gone, and surely nobody writes any more; no other member answers.
  Case& leaderless() {
    follows();
    seen.dcs.cluster.leader.reset();
    state.takeover.key_seen({12, 90});
    state.takeover.key_gone(at(90s), 5s);
    std::erase_if(seen.dcs.cluster.members, [](const Member& m) { return m.name == "pg2"; });
    seen.server.receiver_state.clear();
    seen.server.upstream.clear();
    return *this;
  }

  Case& no_lock() {
    state.lock.reset();
    seen.lease.epoch.reset();
    seen.lease.held_until.reset();
    seen.guard.armed = {};
    seen.guard.deadline = {};
    seen.guard.as_primary = false;
    return *this;
  }

  Case& running_primary() {
    seen.guard.phase = ServerPhase::running;
    seen.server.state = ServerState::running;
    seen.server.in_recovery = false;
    seen.server.write_lsn = Lsn{1000};
    return *this;
  }

  Case& running_standby() {
    seen.guard.phase = ServerPhase::running;
    seen.guard.as_primary = false;
    seen.server.state = ServerState::running;
    seen.server.in_recovery = true;
    seen.server.receive_lsn = seen.server.replay_lsn = Lsn{1000};
    return *this;
  }

  Case& stopped(std::string control_state) {
    seen.guard.phase = ServerPhase::none;
    seen.guard.as_primary = false;
    seen.server.state = ServerState::stopped;
    ControlFile control;
    control.system_id = kSystem;
    control.state = std::move(control_state);
    control.timeline = 1;
    control.checkpoint = Lsn{900};
    control.checksums = true;
    if (control.state == "shut down in recovery") control.min_recovery = Lsn{1};
    seen.server.control = control;
    return *this;
  }

  Case& peer(MemberName name, Lsn lsn, std::int64_t leaderless_revision = 200) {
    if (!seen.peers) seen.peers = PeerRound{at(99950ms), {}};
    PeerFigure figure;
    figure.name = std::move(name);
    figure.answered = figure.running = true;
    figure.timeline = 1;
    figure.lsn = lsn;
    figure.leaderless_revision = leaderless_revision;
    seen.peers->peers.push_back(figure);
    return *this;
  }

  Decision decide() const { return core::decide(state, self, seen, now); }
};

template <typename T>
const T* find(const Decision& decision) {
  for (const auto& action : decision.actions) {
    if (const auto* found = std::get_if<T>(&action)) return found;
  }
  return nullptr;
}

inline const Txn* find_txn(const Decision& decision, TxnKind kind) {
  for (const auto& action : decision.actions) {
    const auto* found = std::get_if<Transact>(&action);
    if (found && found->kind == kind) return &found->txn;
  }
  return nullptr;
}

// "STATUS text", empty when nothing was answered.
inline std::string reply(const Decision& decision) {
  const auto* found = find<Reply>(decision);
  return found ? std::to_string(found->status) + " " + found->text : "";
}

inline std::string reply_to(Case c, const Request& request) {
  c.seen.requests = {request};
  return reply(c.decide());
}

inline bool says(const Decision& decision, std::string_view part) {
  for (const auto& reason : decision.reasons) {
    if (reason.text.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace pgsteady::core::testing
