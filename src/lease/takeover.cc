#include "lease/takeover.h"

namespace pgsteady::lease {
namespace {

// etcd's leader lengthens a lease by its election timeout, 50 s at most.
constexpr std::int64_t kLongestExtensionSeconds = 60;

// A member that has just become etcd's leader answers "for ever" (2^63 ns) until it has started the
// leases anew.
bool knows_the_end(const LeasePoll& poll) {
  return poll.remaining_seconds <= poll.granted_seconds + kLongestExtensionSeconds;
}

}  // namespace

void Takeover::key_seen(const Epoch& key) {
  if (key == key_ && !gone_at_) return;
  *this = Takeover{};
  key_ = key;
}

void Takeover::polled(const LeasePoll& poll) {
  if (gone_at_ || poll.lease != key_.lease || poll.remaining_seconds < 0) return;
  if (last_ && poll.sent < last_->received) return;
  if (!knows_the_end(poll)) {
    ends_before_.reset();
    last_.reset();
    unproven_.reset();
    final_ = false;
    return;
  }
  const auto granted = Duration(std::chrono::seconds(poll.granted_seconds));
  const auto at_most = Duration(std::chrono::seconds(poll.remaining_seconds + 1));
  auto bound = poll.received + at_most;
  // A renewal since the last poll would have left more than this poll found, even if etcd's clock
  // runs 10 % faster than ours.
  auto since_last = last_ ? (poll.received - last_->sent) * 11 / 10 : Duration(0);
  bool not_renewed = last_ && last_->term == poll.term && at_most <= granted - since_last;
  if (ends_before_ && not_renewed) bound = std::min(bound, *ends_before_);
  ends_before_ = bound;
  bool over = poll.sent >= bound - margin(granted);
  if (!over) final_ = false;  // renewed after all, too late for its holder
  if (!over || (unproven_ && unproven_->term != poll.term)) unproven_.reset();
  if (over && !unproven_) unproven_ = Unproven{poll.sent, poll.term};
  last_ = poll;
}

void Takeover::read(Instant sent, std::uint64_t term) {
  if (unproven_ && unproven_->term == term && sent >= unproven_->sent) final_ = true;
}

void Takeover::key_gone(Instant sent, Duration ttl) {
  if (gone_at_) return;
  gone_at_ = sent;
  ttl_ = ttl;
  if (last_) ttl_ = std::max(ttl_, Duration(std::chrono::seconds(last_->granted_seconds)));
}

void Takeover::released() {
  released_ = true;
}

std::optional<Instant> Takeover::safe_at() const {
  if (!gone_at_) return over_at();
  if (released_) return gone_at_;
  if (final_) return std::max(*gone_at_, *ends_before_);
  return *gone_at_ + ttl_;
}

std::optional<Instant> Takeover::over_at() const {
  if (gone_at_) return gone_at_;
  return final_ && last_->sent >= *ends_before_ ? ends_before_ : std::nullopt;
}

}  // namespace pgsteady::lease
