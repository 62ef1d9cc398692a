#include "sim/plan.h"

#include <fmt/ranges.h>
#include <boost/json/serialize.hpp>
#include <optional>
#include <sstream>

namespace pgsteady::sim {
namespace {

std::string duration_text(Duration duration) {
  auto ms = std::chrono::duration_cast<milliseconds>(duration).count();
  return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

std::optional<Duration> parse_duration(const std::string& word) {
  std::size_t digits = 0;
  while (digits < word.size() && std::isdigit(static_cast<unsigned char>(word[digits]))) ++digits;
  auto number = parse_decimal(word.substr(0, digits));
  if (!number) return std::nullopt;
  auto unit = word.substr(digits);
  if (unit == "ms") return milliseconds(*number);
  if (unit == "s") return seconds(*number);
  return std::nullopt;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line.substr(0, line.find('#')));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool read_step(const std::vector<std::string>& words, Plan& plan) {
  if (words.size() < 3) return false;
  auto at = parse_duration(words[1]);
  if (!at) return false;
  Step step{*at, words[2], {words.begin() + 3, words.end()}, {}};
  auto& arguments = step.arguments;
  if (arguments.size() >= 2 && arguments[arguments.size() - 2] == "for") {
    auto lasts = parse_duration(arguments.back());
    if (!lasts) return false;
    step.lasts = *lasts;
    arguments.resize(arguments.size() - 2);
  }
  plan.steps.push_back(std::move(step));
  return true;
}

bool read_setting(const std::vector<std::string>& words, Plan& plan) {
  if (words.size() != 3) return false;
  auto number = parse_decimal(words[2]);
  if (!number) return false;
  auto value = static_cast<int>(*number);
  auto& settings = plan.settings;
  if (words[1] == "seed")
    plan.seed = *number;
  else if (words[1] == "nodes")
    settings.nodes = value;
  else if (words[1] == "ttl")
    settings.ttl_seconds = value;
  else if (words[1] == "loop_wait_ms")
    settings.loop_wait_ms = value;
  else if (words[1] == "spares")
    settings.spares = value;
  else if (words[1] == "synchronous")  // 1: on, 2: quorum
    settings.synchronous = static_cast<SynchronousMode>(value);
  else if (words[1] == "strict")
    settings.strict = value != 0;
  else if (words[1] == "sync_nodes")
    settings.sync_nodes = value;
  else if (words[1] == "check_timeline")
    settings.check_timeline = value != 0;
  else if (words[1] == "failsafe")
    settings.failsafe = value != 0;
  else if (words[1] == "watchdog")
    settings.watchdog = value != 0;
  else if (words[1] == "maximum_lag")
    settings.maximum_lag_bytes = value;
  else if (words[1] == "client_pause_ms")
    settings.client_pause = milliseconds(value);
  else if (words[1] == "length")
    plan.length = seconds(value);
  else
    return false;
  return true;
}

// "tag pg2 failover_priority 2", "tag pg3 replicatefrom pg2"
bool read_tag(const std::vector<std::string>& words, Plan& plan) {
  if (words.size() != 4) return false;
  auto& values = plan.settings.tags[words[1]].values;
  if (auto number = parse_decimal(words[3])) {
    values[words[2]] = static_cast<std::int64_t>(*number);
  } else {
    values[words[2]] = words[3];
  }
  return true;
}

bool read_line(const std::vector<std::string>& words, Plan& plan) {
  if (words.empty()) return true;
  if (words[0] == "at") return read_step(words, plan);
  if (words[0] == "set") return read_setting(words, plan);
  if (words[0] == "tag") return read_tag(words, plan);
  if (words[0] != "expect" || words.size() < 2) return false;
  plan.expectations.push_back({fmt::format("{}", fmt::join(words.begin() + 1, words.end(), " "))});
  return true;
}

std::string tags_text(const MemberName& name, const Tags& tags) {
  std::string out;
  for (const auto& [tag, value] : tags.values) {
    auto text = value.is_string() ? std::string(value.get_string()) : boost::json::serialize(value);
    out += fmt::format("tag {} {} {}\n", name, std::string_view(tag), text);
  }
  return out;
}

}  // namespace

std::string Step::text() const {
  auto out = fmt::format("at {} {}", duration_text(at), verb);
  for (const auto& argument : arguments) out += " " + argument;
  if (lasts.count() > 0) out += " for " + duration_text(lasts);
  return out;
}

std::string Plan::text() const {
  std::string out = fmt::format(
      "set seed {}\nset nodes {}\nset ttl {}\nset loop_wait_ms {}\nset client_pause_ms {}\n", seed,
      settings.nodes, settings.ttl_seconds, settings.loop_wait_ms,
      settings.client_pause.count() / 1'000'000);
  if (settings.spares > 0) out += fmt::format("set spares {}\n", settings.spares);
  if (auto mode = static_cast<int>(settings.synchronous)) {
    out += fmt::format("set synchronous {}\nset sync_nodes {}\n", mode, settings.sync_nodes);
  }
  if (settings.strict) out += "set strict 1\n";
  if (settings.check_timeline) out += "set check_timeline 1\n";
  if (settings.failsafe) out += "set failsafe 1\n";
  if (settings.watchdog) out += "set watchdog 1\n";
  if (settings.maximum_lag_bytes != Settings{}.maximum_lag_bytes)
    out += fmt::format("set maximum_lag {}\n", settings.maximum_lag_bytes);
  for (const auto& [name, tags] : settings.tags) out += tags_text(name, tags);
  out += fmt::format("set length {}\n", length / seconds(1));
  for (const auto& step : steps) out += step.text() + "\n";
  for (const auto& expectation : expectations) out += "expect " + expectation.what + "\n";
  return out;
}

Result<Plan> parse_plan(std::string_view text) {
  Plan plan;
  std::istringstream in{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (!read_line(words_of(line), plan)) {
      return fail(ErrorKind::refused, fmt::format("line {}: cannot be read: {}", number, line),
                  "see sim/README.md for the words of a scenario");
    }
  }
  return plan;
}

}  // namespace pgsteady::sim
