#include "failover.h"

#include <csignal>

namespace pgsteady::bench {

using testing::Clock;
using testing::Cluster;
using testing::Etcd;
using testing::eventually;
using testing::Manager;
using testing::Node;

namespace {

constexpr Millis kQuiet{2000};  // of undisturbed writes before and after
constexpr Millis kRecovery{120000};

System pgsteady_with(const std::string& key, const std::string& title, int ttl) {
  System system{key, title, {}, Millis(ttl * 1000)};
  system.options.dcs = {"ttl: " + std::to_string(ttl), "loop_wait: 1", "retry_timeout: 3"};
  return system;
}

System patroni_with(const std::string& key, const std::string& title, int ttl,
                    std::vector<std::string> dcs) {
  System system{key, title, {}, Millis(ttl * 1000)};
  system.options.manager = Manager::patroni;
  system.options.dcs = std::move(dcs);
  return system;
}

void kill_one(pid_t pid) {
  if (pid > 0) ::kill(pid, SIGKILL);
}

void pause_for(Millis time) {
  eventually(
      time, [] { return false; }, Millis(20));
}

// By SIGSTOP, so that the time is exact: a killed etcd needs two seconds more to start.
auto etcd_away(Millis time) {
  return [time](Cluster&, Etcd& etcd, Node&) {
    etcd.freeze(0);
    pause_for(time);
    etcd.thaw(0);
  };
}

// From the leader to whom it likes; the answer comes when that is done.
void switchover(Cluster&, Etcd&, Node& leader) {
  leader.rest("POST", "/switchover", R"({"leader":")" + leader.name + R"("})");
}

void etcd_leader_killed(Cluster&, Etcd& etcd, Node&) {
  int leader = etcd.leader();
  etcd.stop(leader < 0 ? 0 : leader);
}

// Waits until what the fault does has been seen in full: writes flow again, where due on another
// node, and have done so for a while.
void await_effect(const testing::Writer& writer, const System& system, const Fault& fault,
                  Clock::time_point from, int old_port) {
  const auto least = fault.waits_ttl ? system.ttl + Millis(6000) : Millis(3000);
  eventually(kRecovery, [&] {
    auto acks = writer.acks();
    auto now = Clock::now();
    if (acks.empty() || now - from < least || now - acks.back().at > Millis(500)) return false;
    if (fault.new_primary && acks.back().port == old_port) return false;
    return writer.outage_since(now - kQuiet) < Millis(200) || now - from > least + Millis(15000);
  });
}

}  // namespace

std::vector<System> systems() {
  return {
      pgsteady_with("pgsteady5", "pgsteady, ttl 5", 5),
      pgsteady_with("pgsteady2", "pgsteady, ttl 2 (experimental)", 2),
      patroni_with(
          "patroni30", "Patroni 3.0.2, its defaults", 30,
          {"ttl: 30", "loop_wait: 10", "retry_timeout: 10", "maximum_lag_on_failover: 1048576"}),
      patroni_with("patroni20", "Patroni 3.0.2, least settings", 20,
                   {"ttl: 20", "loop_wait: 1", "retry_timeout: 3", "primary_start_timeout: 0",
                    "maximum_lag_on_failover: 1048576"}),
  };
}

std::vector<Fault> faults() {
  return {
      {"postmaster", "postmaster killed", 1, false, false,
       [](Cluster&, Etcd&, Node& leader) { kill_one(leader.postmaster()); }},
      {"sigterm", "SIGTERM to the leader's node", 1, true, false,
       [](Cluster&, Etcd&, Node& leader) { leader.process().signal(SIGTERM); }},
      {"switchover", "switchover by REST", 1, true, false, switchover},
      {"node", "node lost: manager, agent and server killed", 1, true, false,
       [](Cluster&, Etcd&, Node& leader) { leader.kill_everything(); }},
      {"agent", "agent alone killed", 1, false, true,
       [](Cluster&, Etcd&, Node& leader) { kill_one(leader.agent()); }},
      {"etcd3s", "etcd stopped for 3 s", 1, false, true, etcd_away(Millis(3000))},
      {"etcd60s", "etcd stopped for 60 s", 1, false, true, etcd_away(Millis(60000)), true},
      {"etcdleader", "leader of three etcds killed", 3, false, true, etcd_leader_killed},
  };
}

Outcome run_once(Cluster& cluster, Etcd& etcd, const System& system, const Fault& fault,
                 Millis phase) {
  Outcome outcome;
  testing::Writer writer(cluster);
  testing::Watcher watcher(cluster);
  pause_for(kQuiet + phase);
  Node* leader = cluster.primary();
  if (!leader) {
    outcome.recovered = false;
    return outcome;
  }
  const pid_t server = leader->postmaster();
  const auto from = Clock::now();
  fault.inject(cluster, etcd, *leader);
  await_effect(writer, system, fault, from, leader->sql_port);
  outcome.outage = writer.outage_since(from);
  outcome.restarted = leader->postmaster() != server;

  etcd.start_all();
  cluster.start_all();
  outcome.recovered = etcd.wait_healthy(kRecovery) && cluster.wait_healthy(kRecovery);
  writer.stop();
  watcher.stop();
  auto lost = writer.lost();
  outcome.lost = lost ? lost->size() : 0;
  outcome.recovered = outcome.recovered && lost.has_value();
  outcome.stale_acks = watcher.stale_acks();
  return outcome;
}

}  // namespace pgsteady::bench
