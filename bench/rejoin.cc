#include "rejoin.h"

namespace pgsteady::bench {

using testing::ask;
using testing::Clock;
using testing::Cluster;
using testing::eventually;
using testing::Millis;
using testing::Node;

namespace {

constexpr Millis kLimit{120000};

// By the new primary's word, and with none of the rows that it never got.
bool streams(Cluster& cluster, Node& old) {
  auto rows = cluster.sql("select count(*) from pg_stat_replication where state = 'streaming'");
  if (!rows || rows->at(0).at(0) != std::to_string(cluster.nodes().size() - 1)) return false;
  auto left = ask(old.superuser(), "select count(*) from diverged");
  return left && left->at(0).at(0) == "0";
}

}  // namespace

std::optional<Millis> rejoin_once(Cluster& cluster) {
  Node* old = cluster.primary();
  if (!old || !cluster.sql("create table if not exists diverged (row int)") ||
      !cluster.sql("truncate diverged")) {
    return std::nullopt;
  }
  bool replicated = eventually(kLimit, [&] {
    auto rows = cluster.sql(
        "select count(*) from pg_stat_replication"
        " where state = 'streaming' and replay_lsn = pg_current_wal_lsn()");
    return rows && rows->at(0).at(0) == std::to_string(cluster.nodes().size() - 1);
  });
  if (!replicated ||
      !cluster.diverge(*old, "insert into diverged select generate_series(1, 100)") ||
      !cluster.wait_primary(kLimit, old) || !cluster.sql("create table if not exists after ()")) {
    return std::nullopt;
  }
  const auto from = Clock::now();
  old->start();
  if (!eventually(
          kLimit, [&] { return streams(cluster, *old); }, Millis(20)))
    return std::nullopt;
  auto time = std::chrono::duration_cast<Millis>(Clock::now() - from);
  return cluster.wait_healthy(kLimit) ? std::optional(time) : std::nullopt;
}

}  // namespace pgsteady::bench
