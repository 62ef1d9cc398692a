#include "lease/renewal.h"

#include "lease/mutant.h"

namespace pgsteady::lease {
namespace {

constexpr std::size_t kProofsKept = 16;  // more rounds than fit into any ttl that still matters
constexpr std::size_t kUnansweredLimit = 64;  // per stream; more means the stream is dead

}  // namespace

void Renewal::adopt(std::int64_t lease, Duration granted_ttl, Instant granted_at) {
  auto next_check = next_check_;
  *this = Renewal{};
  next_check_ = first_check_of_epoch_ =
      next_check;  // answers of the old lease's checks find nobody
  state_ = State::alive;
  lease_ = lease;
  ttl_ = granted_ttl;
  counted_ = granted_at;
}

void Renewal::hold(const Epoch& epoch, std::string value) {
  if (state_ == State::none || state_ == State::lease_lost || epoch.lease != lease_) return;
  state_ = State::alive;
  epoch_ = epoch;
  value_ = std::move(value);
  first_check_of_epoch_ = next_check_;
  found_.clear();
  counted_.reset();
}

void Renewal::let_go() {
  epoch_.reset();
  found_.clear();
  if (state_ == State::key_lost) state_ = State::alive;
  settle();
}

void Renewal::drop() {
  auto next_check = next_check_;
  *this = Renewal{};
  next_check_ = first_check_of_epoch_ = next_check;
}

void Renewal::keepalive_sent(std::size_t stream, Instant now) {
  auto& queue = unanswered_[stream];
  queue.push_back(now);
  // Dropping the oldest would credit its answer to a later request; dropping the newest is safe.
  if (queue.size() > kUnansweredLimit) queue.pop_back();
}

void Renewal::keepalive_answered(std::size_t stream, std::int64_t lease, std::int64_t ttl_seconds,
                                 std::uint64_t term) {
  auto& queue = unanswered_[stream];
  if (queue.empty()) return;
  auto sent = MUTANT(answer_credited_to_newest) ? queue.back() : queue.front();
  queue.pop_front();
  if (lease != lease_ || state_ == State::none) return;
  if (ttl_seconds <= 0) {
    state_ = State::lease_lost;
    return;
  }
  keepalives_.push_back({sent, term});
  if (keepalives_.size() > kProofsKept) keepalives_.erase(keepalives_.begin());
  settle();
}

void Renewal::stream_broken(std::size_t stream) {
  unanswered_.erase(stream);
}

std::uint64_t Renewal::check_sent(Instant now) {
  checks_[next_check_] = now;
  if (checks_.size() > kUnansweredLimit) checks_.erase(checks_.begin());
  return next_check_++;
}

void Renewal::check_answered(std::uint64_t id, const KeyCheck& found, std::uint64_t term) {
  auto check = checks_.find(id);
  if (check == checks_.end()) return;
  auto sent = check->second;
  checks_.erase(check);
  // A check sent before the key was ours says nothing about our holding of it.
  if (!epoch_ || id < first_check_of_epoch_) return;
  if (found.value != value_ || found.lease != epoch_->lease ||
      found.mod_revision != epoch_->mod_revision) {
    if (state_ == State::alive) state_ = State::key_lost;
    return;
  }
  found_.push_back({sent, term});
  if (found_.size() > kProofsKept) found_.erase(found_.begin());
  settle();
}

void Renewal::check_failed(std::uint64_t id) {
  checks_.erase(id);
}

void Renewal::settle() {
  if (state_ != State::alive) return;
  for (const auto& keepalive : keepalives_) {
    bool proven = !epoch_ || MUTANT(keepalive_alone_counts) || MUTANT(unanswered_acquisition_held);
    for (const auto& check : found_) {
      bool later = check.sent >= keepalive.sent || MUTANT(any_check_proves);
      bool same_term = check.term == keepalive.term || MUTANT(terms_mixed);
      proven = proven || (same_term && later);
    }
    if (proven && (!counted_ || keepalive.sent > *counted_)) counted_ = keepalive.sent;
  }
}

std::optional<Instant> Renewal::held_until() const {
  if (state_ != State::alive || !epoch_ || !counted_) return std::nullopt;
  return deadline(*counted_, ttl_);
}

}  // namespace pgsteady::lease
