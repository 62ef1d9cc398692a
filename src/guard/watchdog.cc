#include "guard/watchdog.h"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>

#include "guard/stderr_log.h"
#include "lease/watchdog.h"

namespace pgsteady::guard {
namespace {

// Short, as the timeout follows what is left of the lease.
constexpr lease::Duration kFeedInterval = std::chrono::milliseconds(200);
constexpr lease::Duration kTryAgain = std::chrono::seconds(30);

}  // namespace

bool Watchdog::complain(const std::string& what) {
  bool required = options_.mode == WatchdogOptions::Mode::required;
  if (what != complained_) {
    log(required ? "ERROR" : "WARNING", "watchdog device %s: %s%s", options_.device.c_str(),
        what.c_str(), required ? "; this node will not lead without it" : "");
    log(required ? "ERROR" : "WARNING",
        "hint: load softdog or the hardware's module, and let this user write to the device");
  }
  complained_ = what;
  return !required;
}

bool Watchdog::is_missing(lease::Instant now) {
  if (options_.mode != WatchdogOptions::Mode::required || is_open()) return false;
  if (now < failed_until_) return true;
  if (access(options_.device.c_str(), W_OK) == 0) return false;
  return !complain(std::strerror(errno));
}

bool Watchdog::start(lease::Duration ttl, lease::Instant now) {
  if (options_.mode == WatchdogOptions::Mode::off) return true;
  if (is_open() && ttl == ttl_) return true;
  auto wrong = set_up(ttl);
  if (wrong.empty()) {
    log("INFO", "watchdog armed, it fires after %d s", timeout_);
    complained_.clear();
    return true;
  }
  if (complain(wrong)) return true;
  failed_until_ = now + kTryAgain;
  stop();
  return false;
}

// Empty when all is well.
std::string Watchdog::set_up(lease::Duration ttl) {
  if (!is_open()) {
    fd_ = open(options_.device.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd_ < 0) return std::strerror(errno);
    next_feed_ = {};
  }
  ttl_ = ttl;
  usual_ = lease::watchdog_timeout(ttl, options_.safety_margin_seconds);
  shortest_ = 1;
  obeys_ = set_timeout(usual_);
  if (!obeys_) return std::string("its timeout cannot be set: ") + std::strerror(errno);
  obeys_ = timeout_ <= usual_;
  return obeys_ ? "" : "its shortest timeout is " + std::to_string(timeout_) + " s";
}

// Feeds the device as well.
bool Watchdog::set_timeout(int seconds) {
  int granted = seconds;
  if (ioctl(fd_, WDIOC_SETTIMEOUT, &granted) != 0) return false;
  timeout_ = granted;
  if (granted > seconds) shortest_ = granted;
  return true;
}

void Watchdog::feed(lease::Instant now, lease::Instant deadline) {
  if (!is_open() || now < next_feed_) return;
  next_feed_ = now + kFeedInterval;
  auto wanted = lease::watchdog_timeout_at(now, deadline, ttl_, usual_);
  if (obeys_ ? wanted < shortest_ : now >= deadline) return;
  if (obeys_ && wanted != timeout_ && !set_timeout(wanted)) return;
  if (write(fd_, "1", 1) < 0 && errno != EAGAIN) complain(std::strerror(errno));
}

void Watchdog::stop() {
  if (!is_open()) return;
  if (write(fd_, "V", 1) < 0) {
    log("ERROR", "watchdog device %s cannot be stopped: %s", options_.device.c_str(),
        std::strerror(errno));
  }
  close(fd_);
  fd_ = -1;
}

}  // namespace pgsteady::guard
