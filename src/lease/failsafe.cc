#include "lease/failsafe.h"

#include <algorithm>
#include <utility>

#include "lease/mutant.h"

namespace pgsteady::lease {
namespace {

constexpr std::size_t kUnderWayLimit = 1000;

}  // namespace

void FailsafeRound::adopt(const Epoch& epoch, Duration ttl, std::vector<std::string> others) {
  if (epoch_ != epoch) drop();
  epoch_ = epoch;
  ttl_ = ttl;
  others_ = std::move(others);
}

void FailsafeRound::drop() {
  epoch_.reset();
  others_.clear();
  began_.reset();
  under_way_.clear();
  until_.clear();
}

void FailsafeRound::begin(Instant now) {
  if (epoch_) began_ = now;
}

std::uint64_t FailsafeRound::asked(const std::string& other, Instant now) {
  under_way_[next_] = {other, now};
  if (under_way_.size() > kUnderWayLimit) under_way_.erase(under_way_.begin());
  return next_++;
}

void FailsafeRound::promised(std::uint64_t id, Duration length) {
  auto found = under_way_.find(id);
  if (found == under_way_.end()) return;
  auto [other, sent] = found->second;
  under_way_.erase(found);
  auto until = deadline(sent, std::min(length, this->length()));
  auto [place, first] = until_.emplace(other, until);
  if (!first) place->second = std::max(place->second, until);
}

void FailsafeRound::failed(std::uint64_t id) {
  under_way_.erase(id);
}

std::optional<Instant> FailsafeRound::held_until() const {
  if (!epoch_ || !began_) return std::nullopt;
  auto until = deadline(*began_, length());
  for (const auto& other : others_) {
    if (MUTANT(one_promise_missing) && &other == &others_.back()) break;
    auto found = until_.find(other);
    if (found == until_.end()) return std::nullopt;
    until = std::min(until, found->second);
  }
  return until;
}

void Promiser::decided(const Standing& standing) {
  standing_ = standing;
}

Promiser::Answer Promiser::ask(const std::string& leader, const Epoch& epoch, Duration& length,
                               Instant now) {
  if (!standing_) return Answer::unknown;
  if (standing_->leads || now < standing_->unsure_until) return Answer::leading;
  bool binding = promise_ && now < promise_->until;
  auto newest = standing_->leader_key.mod_revision;
  if (binding) newest = std::max(newest, promise_->epoch.mod_revision);
  if (epoch.valid() && epoch.mod_revision < newest) return Answer::superseded;
  length = std::clamp(length, Duration(0), kLongestPromise);
  auto until = now + length;
  // What was promised once stays promised.
  if (MUTANT(promise_not_kept)) return Answer::promised;
  promise_ = Promise{leader, epoch, binding ? std::max(promise_->until, until) : until};
  return Answer::promised;
}

bool Promiser::begin_taking(const std::optional<Promise>& known) {
  if (promise_ != known) return false;
  if (!standing_) standing_ = Standing{};
  standing_->leads = true;
  return true;
}

}  // namespace pgsteady::lease
