// Streaming between simulated servers. Whether a connection is accepted is decided by timeline
// numbers and positions, as PostgreSQL does; whether that was right, by the tree.
#include <algorithm>

#include "sim/postgres.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kRetry = milliseconds(200);
constexpr Duration kReceiverTimeout = seconds(10);

}  // namespace

void Postgres::reload() {
  if (!postmaster_ || phase_ == Phase::none) return;
  reload_synchronous();
  if (!recovery_ || upstream_ == around_.disk.upstream) return;
  receive_from(around_.disk.upstream);
}

void Postgres::receive_from(std::optional<Place> upstream) {
  drop_receiver();
  upstream_ = upstream;
  ++retry_;
  if (upstream_) retry_receiving(milliseconds(5));
}

void Postgres::retry_receiving(Duration delay) {
  auto retry = ++retry_;
  around_.world.after(delay, &actor_, [this, retry] {
    if (retry == retry_) try_to_receive();
  });
}

// What was received is flushed before the receiver ends.
void Postgres::drop_receiver() {
  if (recovery_) keep_written();
  if (receiver_.streaming && upstream_) {
    auto* from = around_.server(*upstream_);
    auto number = receiver_.number;
    auto place = around_.place;
    if (from && from->actor_.alive()) {
      around_.network.send(place, *upstream_, &from->actor_, true, [from, number, place] {
        std::erase_if(from->senders_, [&](const Sender& sender) {
          return sender.number == number && sender.to == place;
        });
      });
    }
  }
  receiver_.streaming = false;
  receiver_.number = 0;
  ++retry_;
}

void Postgres::drop_senders() {
  for (const auto& sender : senders_) {
    auto* standby = around_.server(sender.to);
    auto number = sender.number;
    around_.network.send(around_.place, sender.to, &standby->actor_, true, [standby, number] {
      if (!standby->receiver_.streaming || standby->receiver_.number != number) return;
      standby->receiver_.streaming = false;
      standby->retry_receiving(milliseconds(100));
    });
  }
  senders_.clear();
}

// As the primary's walsender does: the standby's timeline must be in its history, and the standby
// must not be past the point where that timeline ended. One that was rewound asks for the timeline
// of the server that it was rewound from.
bool Postgres::accepts(const Disk& standby, const WalPoint& theirs) const {
  const auto& tree = around_.tree;
  if (tree.system(theirs.branch) != tree.system(standby.wal.branch)) return false;
  auto timeline = tree.timeline(standby.wal.branch);
  bool too_old =
      standby.inconsistent && standby.control.newest_timeline() > tree.timeline(theirs.branch);
  if (too_old) return false;
  if (timeline > tree.timeline(theirs.branch)) return false;
  if (timeline == tree.timeline(theirs.branch)) return standby.wal.end <= theirs.end;
  for (const auto& line : tree.history(theirs.branch)) {
    if (line.timeline == timeline) return standby.wal.end <= line.end;
  }
  return false;
}

void Postgres::try_to_receive() {
  if (!upstream_ || !recovery_ || promoting_ || receiver_.streaming) return;
  retry_receiving(kRetry);
  if (around_.disk.hangs > 0) return;  // the receiver before it still waits to flush
  keep_written();
  restore_from_archive();
  auto* from = around_.server(*upstream_);
  bool there = from && from != this && from->serves_replication() && !from->around_.disk.unlinked &&
               around_.network.whole_both_ways(around_.place, *upstream_);
  if (!there || !accepts(around_.disk, from->wal())) return;
  auto number = from->next_connection_++;
  std::erase_if(from->senders_, [this](const Sender& s) { return s.to == around_.place; });
  from->senders_.push_back({around_.place, number, Lsn{}, Lsn{}, from->read_sync_rule()});
  from->watch_sender(number, false);
  receiver_.streaming = true;
  receiver_.number = number;
  ++retry_;
  around_.world.trace(around_.name, "streams from {}", around_.name_of(*upstream_));
  if (from->in_recovery()) around_.world.reached("a replica streamed from a replica");
  from->ship_to(from->senders_.back());
  around_.world.after(kReceiverTimeout, &actor_, [this, number] { watch_connection(number); });
}

// wal_sender_timeout: nothing has been heard for a while.
void Postgres::watch_sender(std::uint64_t number, bool missed) {
  around_.world.after(kReceiverTimeout / 2, &actor_, [this, number, missed] {
    auto mine = std::find_if(senders_.begin(), senders_.end(),
                             [number](const Sender& s) { return s.number == number; });
    if (mine == senders_.end()) return;
    const auto& theirs = around_.server(mine->to)->receiver_;
    bool heard = theirs.streaming && theirs.number == number &&
                 around_.network.whole_both_ways(around_.place, mine->to);
    if (heard || !missed) return watch_sender(number, !heard);
    senders_.erase(mine);
  });
}

// wal_receiver_timeout: a connection whose other end has vanished is given up.
void Postgres::watch_connection(std::uint64_t number) {
  if (!receiver_.streaming || receiver_.number != number || !upstream_) return;
  auto* from = around_.server(*upstream_);
  bool stands = from && from->actor_.alive() &&
                std::any_of(from->senders_.begin(), from->senders_.end(),
                            [&](const Sender& s) { return s.number == number; });
  if (stands) {
    around_.world.after(kReceiverTimeout, &actor_, [this, number] { watch_connection(number); });
    return;
  }
  receiver_.streaming = false;
  retry_receiving(kRetry);
}

void Postgres::ship() {
  for (auto& sender : senders_) ship_to(sender);
}

void Postgres::ship_to(Sender& sender) {
  if (around_.disk.unlinked) around_.world.reached("a walsender outlived its data directory");
  auto* standby = around_.server(sender.to);
  sender.sent = around_.disk.wal.end;
  around_.network.send(around_.place, sender.to, &standby->actor_, true,
                       [standby, number = sender.number, upto = around_.disk.wal] {
                         standby->received(number, upto);
                       });
}

void Postgres::received(std::uint64_t number, WalPoint upto) {
  auto& disk = around_.disk;
  if (!receiver_.streaming || receiver_.number != number || promoting_ || disk.starved) return;
  if (disk.hangs > 0) {
    around_.world.after(milliseconds(100), &actor_, [=, this] { received(number, upto); });
    return;
  }
  if (disk.full > 0) return panic();
  if (!around_.tree.contains(upto, written_)) {
    if (around_.tree.contains(written_, upto)) return;  // an older message
    around_.world.violation(around_.name + " streams WAL that does not continue its own");
    return;
  }
  written_ = upto;
  flush_soon();
}

// Its upstream hears of what is safe, and so does who streams from here.
void Postgres::flushed_received() {
  receiver_.any = true;
  if (upstream_ && receiver_.streaming) {
    auto* from = around_.server(*upstream_);
    around_.network.send(around_.place, *upstream_, &from->actor_, true,
                         [from, number = receiver_.number, flushed = around_.disk.wal.end] {
                           from->confirmed(number, flushed);
                         });
  }
  ship();
}

void Postgres::confirmed(std::uint64_t number, Lsn flushed) {
  for (auto& sender : senders_) {
    if (sender.number != number) continue;
    sender.flushed = std::max(sender.flushed, flushed);
    return release_waiters(sender);
  }
}

}  // namespace pgsteady::sim
