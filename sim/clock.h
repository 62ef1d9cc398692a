// One host's CLOCK_BOOTTIME: runs at a rate of its own, and can stand still. And what a clock on
// the wall shows.
#pragma once

#include "base/clock.h"
#include "sim/world.h"

namespace pgsteady::sim {

// By a clock that is right.
inline WallTime wall_time(Moment moment) {
  constexpr auto kEpoch = WallTime(seconds(1'800'000'000));
  return kEpoch + std::chrono::duration_cast<WallTime::duration>(moment.time_since_epoch());
}

class HostClock {
 public:
  HostClock(Duration started, int drift_ppm) : local_(started), drift_ppm_(drift_ppm) {}

  lease::Instant read(Moment now) const { return local_ + ran(now); }
  // How long in true time until `local` time has passed, at today's rate.
  Duration true_length(Duration local) const {
    return Duration(local.count() / (1'000'000 + drift_ppm_) * 1'000'000 +
                    local.count() % (1'000'000 + drift_ppm_) * 1'000'000 /
                        (1'000'000 + drift_ppm_));
  }
  Duration local_length(Duration length) const {
    auto ns = length.count();
    return Duration(ns + ns / 1'000'000 * drift_ppm_ + ns % 1'000'000 * drift_ppm_ / 1'000'000);
  }
  void set_drift(Moment now, int drift_ppm) {
    settle(now);
    drift_ppm_ = drift_ppm;
  }
  void stand_still(Moment now, bool still) {
    settle(now);
    still_ = still;
  }
  int drift_ppm() const { return drift_ppm_; }

 private:
  Duration ran(Moment now) const {
    if (still_) return Duration(0);
    return local_length(now - since_);
  }
  void settle(Moment now) {
    local_ = read(now);
    since_ = now;
  }

  lease::Instant local_;
  Moment since_{};
  int drift_ppm_ = 0;
  bool still_ = false;
};

}  // namespace pgsteady::sim
