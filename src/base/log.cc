#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <algorithm>
#include <cctype>
#include <memory>
#include <mutex>
#include <string>

#include "base/background_writer.h"

namespace pgsteady {
namespace {

constexpr auto kFlushLimit = std::chrono::milliseconds(100);  // a server may wait for a new agent

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

void set_shape(spdlog::logger& logger) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<LevelFlag>('*').set_pattern("%Y-%m-%d %H:%M:%S,%e %*: %v");
  logger.set_formatter(std::move(formatter));
}

// Never destroyed: a thread may log while the process ends.
spdlog::logger& logger() {
  static auto* instance = [] {
    auto* made = new spdlog::logger("pgsteady", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    set_shape(*made);
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

class BackgroundSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit BackgroundSink(BackgroundWriter& writer) : writer_(writer) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    writer_.put({line.data(), line.size()});
  }
  void flush_() override {}

  BackgroundWriter& writer_;
};

void tell_of_dropped(unsigned lines) {
  log_warning("{} lines of this log were dropped: stderr took nothing more", lines);
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

BackgroundLog::BackgroundLog() : writer_(*new BackgroundWriter(STDERR_FILENO, tell_of_dropped)) {
  logger().sinks() = {std::make_shared<BackgroundSink>(writer_)};
  set_shape(logger());
}

BackgroundLog::~BackgroundLog() {
  writer_.flush(kFlushLimit);
}

void log_line(LogLevel level, std::string_view message) {
  logger().log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace pgsteady
