#include "base/clock.h"

#include <fmt/chrono.h>
#include <algorithm>
#include <ctime>

#include "base/types.h"

namespace pgsteady {
namespace {

// Takes pieces off the front of a text.
struct Scanner {
  std::string_view rest;

  bool take(char c) {
    if (!rest.starts_with(c)) return false;
    rest.remove_prefix(1);
    return true;
  }
  bool take_any(std::string_view characters) {
    if (rest.empty() || characters.find(rest.front()) == characters.npos) return false;
    rest.remove_prefix(1);
    return true;
  }
  // Exactly so many digits, up to a greatest value.
  std::optional<int> number(std::size_t digits, int greatest) {
    auto value = rest.size() < digits ? std::nullopt : parse_decimal(rest.substr(0, digits));
    if (!value || *value > static_cast<std::uint64_t>(greatest)) return std::nullopt;
    rest.remove_prefix(digits);
    return static_cast<int>(*value);
  }
};

std::optional<std::chrono::sys_days> scan_date(Scanner& text) {
  auto year = text.number(4, 9999);
  if (!year || !text.take('-')) return std::nullopt;
  auto month = text.number(2, 12);
  if (!month || !text.take('-')) return std::nullopt;
  auto day = text.number(2, 31);
  if (!day) return std::nullopt;
  auto date = std::chrono::year(*year) / *month / *day;
  return date.ok() ? std::optional(std::chrono::sys_days(date)) : std::nullopt;
}

std::optional<std::chrono::microseconds> scan_fraction(Scanner& text) {
  auto digits = std::min(text.rest.find_first_not_of("0123456789"), text.rest.size());
  auto value = parse_decimal(text.rest.substr(0, std::min<std::size_t>(digits, 6)));
  if (!value) return std::nullopt;
  for (auto i = digits; i < 6; ++i) *value *= 10;
  text.rest.remove_prefix(digits);
  return std::chrono::microseconds(*value);
}

std::optional<std::chrono::microseconds> scan_time_of_day(Scanner& text) {
  auto hour = text.number(2, 23);
  if (!hour || !text.take(':')) return std::nullopt;
  auto minute = text.number(2, 59);
  if (!minute) return std::nullopt;
  auto time = std::chrono::hours(*hour) + std::chrono::minutes(*minute);
  if (!text.take(':')) return time;
  auto second = text.number(2, 60);
  if (!second) return std::nullopt;
  auto fraction = text.take_any(".,") ? scan_fraction(text) : std::chrono::microseconds(0);
  if (!fraction) return std::nullopt;
  return time + std::chrono::seconds(*second) + *fraction;
}

// How far the zone is ahead of UTC; nullopt when there is anything but an offset.
std::optional<std::chrono::minutes> scan_offset(Scanner& text) {
  for (const char* name : {"Z", "z", "UTC", "GMT"}) {
    if (text.rest == name) return std::chrono::minutes(0);
  }
  int sign = text.take('-') ? -1 : 1;
  if (sign == 1 && !text.take('+')) return std::nullopt;
  auto hours = text.number(2, 15);
  if (!hours) return std::nullopt;
  text.take(':');
  auto minutes = text.rest.empty() ? 0 : text.number(2, 59);
  if (!minutes || !text.rest.empty()) return std::nullopt;
  return sign * (std::chrono::hours(*hours) + std::chrono::minutes(*minutes));
}

}  // namespace

std::chrono::nanoseconds boottime_now() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

std::string iso_time(WallTime time) {
  auto since_epoch = time.time_since_epoch();
  auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  auto micros = std::chrono::duration_cast<std::chrono::microseconds>(since_epoch - seconds);
  std::time_t t = seconds.count();
  std::tm utc{};
  gmtime_r(&t, &utc);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}+00:00", utc, micros.count());
}

std::optional<WrittenTime> parse_time(std::string_view text) {
  Scanner scanner{text};
  auto date = scan_date(scanner);
  if (!date || !scanner.take_any("Tt ")) return std::nullopt;
  auto time_of_day = scan_time_of_day(scanner);
  if (!time_of_day) return std::nullopt;
  scanner.take(' ');
  WrittenTime written{*date + *time_of_day, !scanner.rest.empty()};
  if (!written.has_zone) return written;
  auto offset = scan_offset(scanner);
  if (!offset) return std::nullopt;
  written.time -= *offset;
  return written;
}

}  // namespace pgsteady
