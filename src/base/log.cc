#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <string>

namespace pgsteady {
namespace {

constexpr std::pair<std::string_view, LogLevel> kNames[] = {
    {"DEBUG", LogLevel::debug}, {"INFO", LogLevel::info},         {"WARNING", LogLevel::warning},
    {"ERROR", LogLevel::error}, {"CRITICAL", LogLevel::critical},
};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  return static_cast<spdlog::level::level_enum>(static_cast<int>(level) + spdlog::level::debug);
}

// spdlog's own names are lower case; Patroni's log has them in upper case.
class LevelFlag : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    auto name = kNames[std::clamp(message.level - spdlog::level::debug, 0, 4)].first;
    out.append(name.data(), name.data() + name.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelFlag>();
  }
};

spdlog::logger& logger() {
  static auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("pgsteady",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<LevelFlag>('*').set_pattern("%Y-%m-%d %H:%M:%S,%e %*: %v");
    made->set_formatter(std::move(formatter));
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

}  // namespace

void set_log_level(LogLevel level) {
  logger().set_level(to_spdlog(level));
}

bool set_log_level(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  for (auto [known, level] : kNames) {
    if (known != upper) continue;
    set_log_level(level);
    return true;
  }
  return false;
}

void log_line(LogLevel level, std::string_view message) {
  logger().log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace pgsteady
