#include "config/section.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/yaml_values.h"

namespace pgsteady::config {
namespace {

std::string_view trimmed(std::string_view text) {
  auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, change}));
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Findings::at(const YAML::Node& node) const {
  if (!node.IsDefined() || node.Mark().is_null()) return file;
  return fmt::format("{}:{}", file, node.Mark().line + 1);
}

std::optional<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port) {
  text = trimmed(text);
  std::string_view host = text, port;
  if (text.starts_with('[')) {
    auto close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    host = text.substr(1, close - 1);
    if (close + 1 < text.size()) {
      if (text[close + 1] != ':') return std::nullopt;
      port = text.substr(close + 2);
      if (port.empty()) return std::nullopt;
    }
  } else if (auto colon = text.rfind(':'); colon != std::string_view::npos) {
    if (text.find(':') != colon) return HostPort{std::string(text), default_port};  // bare IPv6
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return std::nullopt;
  }
  if (host.empty() || host.find_first_of(" \t/@") != std::string_view::npos) return std::nullopt;
  if (port.empty()) return HostPort{std::string(host), default_port};
  auto number = parse_decimal(port);
  if (!number || *number == 0 || *number > 65535) return std::nullopt;
  return HostPort{std::string(host), static_cast<std::uint16_t>(*number)};
}

bool is_wildcard(std::string_view host) {
  return host.empty() || host == "*" || host == "0.0.0.0" || host == "::";
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    auto comma = text.find(',');
    auto part = trimmed(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

std::string closest(const std::string& word, const std::set<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : known) {
    auto distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

Section::Section(const YAML::Node& node, std::string path, const Overrides& overrides,
                 Findings& findings)
    : node_(node), path_(std::move(path)), overrides_(overrides), findings_(findings) {
  if (!node_.IsDefined() || node_.IsNull()) return;
  if (!node_.IsMap()) {
    findings_.errors.push_back(fmt::format("{}: {}: expected a map of settings",
                                           findings_.at(node_), path_.empty() ? "file" : path_));
    return;
  }
  take_entries(node_, false);
}

void Section::take_entries(const YAML::Node& map, bool merged) {
  for (const auto& pair : map) {
    if (!pair.first.IsScalar()) {
      findings_.errors.push_back(
          fmt::format("{}: {}: a key is no text", findings_.at(pair.first), path_));
      continue;
    }
    const auto& key = pair.first.Scalar();
    if (key == "<<" && pair.second.IsMap() && !merged) continue;
    if (!find(key)) {
      entries_.emplace_back(key, pair.second);
    } else if (!merged) {
      findings_.errors.push_back(
          fmt::format("{}: {}: given twice", findings_.at(pair.first), name_of(key)));
    }
  }
  if (merged) return;
  for (const auto& pair : map) {  // YAML's merge key lies under the map's own keys
    if (pair.first.IsScalar() && pair.first.Scalar() == "<<" && pair.second.IsMap()) {
      take_entries(pair.second, true);
    }
  }
}

const YAML::Node* Section::find(const std::string& key) const {
  for (const auto& [name, value] : entries_) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string Section::name_of(const std::string& key) const {
  return path_.empty() ? key : path_ + "." + key;
}

const Override* Section::override_of(const std::string& key) const {
  auto found = overrides_.find(name_of(key));
  return found == overrides_.end() ? nullptr : &found->second;
}

std::string Section::where(const std::string& key) const {
  if (const auto* over = override_of(key)) return over->variable;
  if (const auto* value = find(key)) return findings_.at(*value);
  return findings_.at(node_);
}

void Section::error(const std::string& key, const std::string& what) {
  findings_.errors.push_back(fmt::format("{}: {}: {}", where(key), name_of(key), what));
}

void Section::warning(const std::string& key, const std::string& what) {
  findings_.warnings.push_back(fmt::format("{}: {}: {}", where(key), name_of(key), what));
}

YAML::Node Section::node(const std::string& key) {
  mark_read(key);
  const auto* value = find(key);
  return value ? *value : YAML::Node(YAML::NodeType::Undefined);
}

Section Section::section(const std::string& key) {
  return Section(node(key), name_of(key), overrides_, findings_);
}

bool Section::overridden(const std::string& key) const {
  return override_of(key) != nullptr;
}

bool Section::has(const std::string& key) const {
  const auto* value = find(key);
  return overridden(key) || (value && value->IsDefined() && !value->IsNull());
}

std::optional<std::string> Section::text(const std::string& key) {
  mark_read(key);
  if (const auto* over = override_of(key)) return over->value;
  const auto* value = find(key);
  if (!value || !value->IsDefined() || value->IsNull()) return std::nullopt;
  if (value->IsScalar()) return value->Scalar();
  error(key, "expected a single value");
  return std::nullopt;
}

std::string Section::text_or(const std::string& key, std::string fallback) {
  return text(key).value_or(std::move(fallback));
}

std::string Section::credential_or(const std::string& key, std::string fallback) {
  auto value = text_or(key, std::move(fallback));
  if (value.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos) {
    error(key,
          "holds a line break or a zero byte, expected one line\n"
          "hint: a secret read from a file often ends in a line break; leave it out");
  }
  return value;
}

std::optional<bool> Section::boolean(const std::string& key) {
  auto value = text(key);
  if (!value) return std::nullopt;
  auto parsed = yaml_boolean(*value);
  if (!parsed) error(key, fmt::format("'{}' is no boolean, expected true or false", *value));
  return parsed;
}

std::vector<std::string> Section::texts(const std::string& key) {
  const auto* value = find(key);
  if (!overridden(key) && value && value->IsSequence()) return lines(key);
  auto one = text(key);
  return one ? split_commas(*one) : std::vector<std::string>{};
}

std::vector<std::string> Section::lines(const std::string& key) {
  mark_read(key);
  std::vector<std::string> result;
  const auto* value = find(key);
  if (!value || !value->IsDefined() || value->IsNull()) return result;
  if (!value->IsSequence()) {
    error(key, "expected a list");
    return result;
  }
  for (const auto& item : *value) {
    if (item.IsScalar()) {
      result.push_back(item.Scalar());
    } else {
      findings_.errors.push_back(
          fmt::format("{}: {}: expected a list of texts", findings_.at(item), name_of(key)));
    }
  }
  return result;
}

std::optional<HostPort> Section::host_port(const std::string& key, std::uint16_t default_port) {
  auto value = text(key);
  if (!value) return std::nullopt;
  auto parsed = parse_host_port(*value, default_port);
  if (!parsed) error(key, fmt::format("'{}' is no address, expected host:port", *value));
  return parsed;
}

void Section::check_unread(const std::set<std::string>& known) {
  std::set<std::string> all = known;
  all.insert(read_.begin(), read_.end());
  for (const auto& [key, value] : entries_) {
    if (read_.contains(key)) continue;
    auto at = findings_.at(value);
    if (known.contains(key)) {
      findings_.warnings.push_back(fmt::format("{}: {}: not honoured yet", at, name_of(key)));
      continue;
    }
    auto meant = closest(key, all);
    auto suggestion = meant.empty() ? "" : fmt::format(", did you mean {}?", name_of(meant));
    findings_.warnings.push_back(fmt::format("{}: unknown key {}{}", at, name_of(key), suggestion));
  }
}

}  // namespace pgsteady::config
