#include "sim/watchdog.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kFeedInterval = milliseconds(200);
constexpr long kMargin = -1;  // the default: at half of the ttl

}  // namespace

void Watchdog::start(lease::Duration ttl) {
  if (!open_) next_feed_ = {};
  open_ = true;
  ttl_ = ttl;
  usual_ = lease::watchdog_timeout(ttl, kMargin);
  count(usual_);
}

void Watchdog::feed(lease::Instant now, lease::Instant deadline) {
  if (!open_ || now < next_feed_) return;
  next_feed_ = now + kFeedInterval;
  auto wanted = lease::watchdog_timeout_at(now, deadline, ttl_, usual_);
  if (wanted >= 1) count(wanted);
}

void Watchdog::stop() {
  if (!open_) return;
  power_off();
}

void Watchdog::power_off() {
  open_ = counts_ = false;
  ++fed_;
}

void Watchdog::suspend(bool suspended) {
  suspended_ = suspended;
  if (counts_) count(timeout_);
}

void Watchdog::count(int whole_seconds) {
  counts_ = true;
  timeout_ = whole_seconds;
  auto fed = ++fed_;
  if (suspended_) return;
  world_.after(seconds(whole_seconds), nullptr, [this, fed] {
    if (fed == fed_ && counts_) reset_();
  });
}

}  // namespace pgsteady::sim
