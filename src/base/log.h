// The log: one line per event on stderr, in the shape operators of Patroni know:
//   2026-11-22 14:03:00,123 INFO: no action. I am (pg1), the leader with the lock
// Any thread. Never pass a password or a conninfo that holds one.
#pragma once

#include <fmt/format.h>
#include <string_view>

namespace pgsteady {

class BackgroundWriter;

enum class LogLevel { debug, info, warning, error, critical };

void set_log_level(LogLevel level);
// "DEBUG".."CRITICAL" in any case; false when the name is none of them.
bool set_log_level(std::string_view name);
void log_line(LogLevel level, std::string_view message);

// While one lives, nobody who logs waits for stderr, whose reader may be stuck and whose disk may
// hang: a thread of its own writes. What finds no room within 64 KiB is dropped, and said to be.
// The end gives that thread 100 ms; an abort gives it none. One in a process, made before other
// threads log.
class BackgroundLog {
 public:
  BackgroundLog();
  ~BackgroundLog();
  BackgroundLog(const BackgroundLog&) = delete;
  BackgroundLog& operator=(const BackgroundLog&) = delete;

 private:
  BackgroundWriter& writer_;
};

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace pgsteady
