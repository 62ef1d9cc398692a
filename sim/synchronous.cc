// Synchronous commits of a simulated server. As in PostgreSQL, three kinds of processes read
// synchronous_standby_names each for itself and at its own time: sessions, which show it; the
// checkpointer, which tells backends whether to wait at all; and walsenders, which let them go.
#include <algorithm>

#include "core/sync.h"
#include "sim/postgres.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kSlowProcess = milliseconds(900);  // the design gives them all a second

Duration takes_notice(Rng& rng) {
  return rng.between(milliseconds(1), rng.one_in(10) ? kSlowProcess : Duration(milliseconds(30)));
}

}  // namespace

int SyncRule::priority(const MemberName& name) const {
  if (everybody) return 1;
  auto found = std::find(names.begin(), names.end(), name);
  return found == names.end() ? 0 : static_cast<int>(found - names.begin()) + 1;
}

SyncRule Postgres::read_sync_rule() const {
  SyncRule rule;
  rule.text = around_.disk.sync_names;
  rule.everybody = rule.text == "*";
  rule.any = rule.text.starts_with("ANY ");
  auto config = core::parse_sync_names(rule.text).value_or(core::SyncConfig{});
  rule.names.assign(config.names.begin(), config.names.end());
  rule.wait_for = rule.everybody ? 1 : config.wait_for;
  return rule;
}

void Postgres::begin_synchronous() {
  session_rule_ = shared_rule_ = read_sync_rule();
  checkpointer_busy_ = {};
  waiting_.clear();
}

// SIGHUP: each process reads the file when it comes to it.
void Postgres::reload_synchronous() {
  auto& world = around_.world;
  world.after(rng_.between(milliseconds(1), milliseconds(15)), &actor_,
              [this] { session_rule_ = read_sync_rule(); });
  auto free_in = std::max(Duration(0), checkpointer_busy_ - world.now());
  world.after(std::max(free_in, takes_notice(rng_)), &actor_, [this] { checkpointer_reads(); });
  for (const auto& each : senders_) {
    world.after(takes_notice(rng_), &actor_, [this, number = each.number] {
      for (auto& sender : senders_) {
        if (sender.number != number) continue;
        sender.rule = read_sync_rule();
        return release_waiters(sender);
      }
    });
  }
}

// A checkpoint that has begun meanwhile keeps it from that.
void Postgres::checkpointer_reads() {
  if (around_.world.now() < checkpointer_busy_) {
    return around_.world.at(checkpointer_busy_, &actor_, [this] { checkpointer_reads(); });
  }
  shared_rule_ = read_sync_rule();
  if (!shared_rule_.defined() && !waiting_.empty()) release_up_to(waiting_.back().end, 0);
}

// Who counts is what each walsender says of itself; the first come first. Empty when the one that
// asks is not among them: then it releases nobody (SyncRepGetSyncRecPtr, am_sync).
std::vector<Lsn> Postgres::flushed_by_candidates(const Sender& asks) const {
  const auto& rule = asks.rule;
  std::vector<std::pair<int, const Sender*>> found;
  for (const auto& sender : senders_) {
    auto priority = sender.rule.priority(around_.name_of(sender.to));
    if (priority > 0 && sender.flushed.value != 0) found.emplace_back(priority, &sender);
  }
  if (!rule.any) {
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    found.resize(std::min(found.size(), static_cast<std::size_t>(rule.wait_for)));
  }
  bool counts = false;
  std::vector<Lsn> flushed;
  for (const auto& [priority, sender] : found) {
    flushed.push_back(sender->flushed);
    counts = counts || sender == &asks;
  }
  if (!counts) return {};
  std::sort(flushed.rbegin(), flushed.rend());
  return flushed;
}

void Postgres::release_waiters(const Sender& sender) {
  const auto& rule = sender.rule;
  if (rule.wait_for == 0 || waiting_.empty()) return;
  auto flushed = flushed_by_candidates(sender);
  auto needed = static_cast<std::size_t>(rule.wait_for);
  if (flushed.size() >= needed) release_up_to(flushed[needed - 1], rule.wait_for);
}

void Postgres::release_up_to(Lsn flushed, int waited_for) {
  if (!can_release()) return;
  while (!waiting_.empty() && waiting_.front().end <= flushed) {
    auto commit = waiting_.front();
    waiting_.erase(waiting_.begin());
    around_.acknowledged(commit, waited_for);
  }
}

std::string Postgres::sync_state(const Sender& sender) const {
  bool counts = sender.flushed.value != 0 && sender.rule.priority(around_.name_of(sender.to)) > 0;
  if (!counts || !session_rule_.defined()) return "async";
  return session_rule_.any ? "quorum" : "sync";
}

}  // namespace pgsteady::sim
