// The kernel's watchdog device: resets the host when nobody feeds it. It is open while a server is
// armed or something of one is left, and fed by the guardian alone. Its timeout is never longer
// than what is left of the lease (lease/watchdog.h), so that a host whose guardian stands still is
// gone before its lease is. A device whose timeout cannot be set that way is fed up to the
// deadline, for what it is worth, unless one is required.
//
// One thread, the guardian's; nothing here blocks.
#pragma once

#include <string>

#include "lease/terms.h"

namespace pgsteady::guard {

struct WatchdogOptions {
  enum class Mode { off, automatic, required } mode = Mode::off;
  std::string device = "/dev/watchdog";
  long safety_margin_seconds = -1;  // fires so long before the ttl is over; below 0: at half of it
};

class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options) : options_(std::move(options)) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Opens the device for servers armed with this ttl. False only when one is required and does not
  // work: then nothing may be armed. Says what is wrong, once.
  bool start(lease::Duration ttl, lease::Instant now);
  // True when one is required and cannot work, as far as that shows without opening it. One that
  // was opened and did not do is tried again half a minute later.
  bool is_missing(lease::Instant now);
  // Feeds it if that is due and allowed. `deadline`: of the armed epoch.
  void feed(lease::Instant now, lease::Instant deadline);
  // With the letter V: closed without it, by the guardian's death, the device goes on counting.
  void stop();
  bool is_open() const { return fd_ >= 0; }
  lease::Instant next_feed() const { return is_open() ? next_feed_ : lease::Instant::max(); }

 private:
  bool complain(const std::string& what);
  std::string set_up(lease::Duration ttl);
  bool set_timeout(int seconds);

  WatchdogOptions options_;
  int fd_ = -1;
  lease::Duration ttl_{};
  int usual_ = 0;       // seconds, as are the next two: the timeout while renewals go well
  int timeout_ = 0;     // as it is set now
  int shortest_ = 1;    // that the device takes, as far as is known
  bool obeys_ = false;  // its timeout can be set
  lease::Instant next_feed_{};
  lease::Instant failed_until_{};
  std::string complained_;
};

}  // namespace pgsteady::guard
