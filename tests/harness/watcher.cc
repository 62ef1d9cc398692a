#include "harness/watcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

namespace pgsteady::testing {
namespace {

constexpr Millis kPeriod{20};
constexpr Millis kLimit{500};
constexpr const char* kProbe =
    "insert into watched (node) values ($1)"
    " returning substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)";

bool stale(const Watcher::Probe& late, const Watcher::Probe& early) {
  return late.sent > early.acked && late.timeline < early.timeline;
}

}  // namespace

Watcher::Watcher(Cluster& cluster) {
  if (!cluster.sql("create table if not exists watched (node text)")) {
    throw std::runtime_error("cannot make the watcher's table");
  }
  for (std::size_t i = 0; i < cluster.nodes().size(); ++i) {
    threads_.emplace_back(&Watcher::run, this, i, cluster.nodes()[i]->superuser());
  }
}

Watcher::~Watcher() {
  stop();
}

void Watcher::stop() {
  stop_ = true;
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void Watcher::run(std::size_t node, const std::string& conninfo) {
  SqlClient client;
  while (!stop_) {
    if (client.connected() || client.connect(conninfo, kLimit)) probe(node, client);
    std::this_thread::sleep_for(kPeriod);
  }
}

// Asks before it writes: a standby would log each refused insert.
void Watcher::probe(std::size_t node, SqlClient& client) {
  auto standby = client.query("select pg_is_in_recovery()", {}, kLimit);
  if (!standby || standby->at(0).at(0) != "f") return;
  const auto sent = Clock::now();
  auto rows = client.query(kProbe, {std::to_string(node)}, kLimit);
  if (!rows || rows->empty()) return;
  auto timeline = static_cast<unsigned>(std::stoul(rows->at(0).at(0), nullptr, 16));
  std::lock_guard lock(mutex_);
  probes_.push_back({node, timeline, sent, Clock::now()});
}

std::vector<Watcher::Probe> Watcher::probes() const {
  std::lock_guard lock(mutex_);
  auto sorted = probes_;
  std::sort(sorted.begin(), sorted.end(),
            [](const Probe& a, const Probe& b) { return a.acked < b.acked; });
  return sorted;
}

std::size_t Watcher::count_stale(const std::vector<Probe>& probes) {
  std::size_t count = 0;
  std::map<unsigned, Probe> first;  // of each timeline
  for (const auto& probe : probes) {
    first.try_emplace(probe.timeline, probe);
    count += std::any_of(first.upper_bound(probe.timeline), first.end(),
                         [&](const auto& entry) { return stale(probe, entry.second); });
  }
  return count;
}

std::vector<std::string> Watcher::find_splits(const std::vector<Probe>& probes) {
  std::set<std::string> found;
  std::map<unsigned, Probe> first;
  for (const auto& probe : probes) {
    auto [entry, fresh] = first.try_emplace(probe.timeline, probe);
    if (!fresh && entry->second.node != probe.node) {
      found.insert(fmt::format("nodes {} and {} both wrote on timeline {}", entry->second.node + 1,
                               probe.node + 1, probe.timeline));
    }
    for (auto newer = first.upper_bound(probe.timeline); newer != first.end(); ++newer) {
      if (!stale(probe, newer->second)) continue;
      found.insert(
          fmt::format("node {} wrote on timeline {} after node {} had written on timeline {}",
                      probe.node + 1, probe.timeline, newer->second.node + 1, newer->first));
    }
  }
  return {found.begin(), found.end()};
}

std::vector<std::string> Watcher::splits() const {
  return find_splits(probes());
}
std::size_t Watcher::stale_acks() const {
  return count_stale(probes());
}

}  // namespace pgsteady::testing
