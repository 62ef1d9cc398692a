#include <fmt/format.h>
#include <algorithm>

#include "core/sync.h"

namespace pgsteady::core {
namespace {

std::set<MemberName> united(std::set<MemberName> one, const std::set<MemberName>& other) {
  one.insert(other.begin(), other.end());
  return one;
}

std::string quoted(const MemberName& name) {
  std::string text = "\"";
  for (char c : name) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + "\"";
}

// One quoted name from the front of `text`.
std::optional<MemberName> take_name(std::string_view& text) {
  if (!text.starts_with('"')) return std::nullopt;
  MemberName name;
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] != '"') {
      name += text[at];
    } else if (at + 1 < text.size() && text[at + 1] == '"') {
      name += text[at++];
    } else {
      text.remove_prefix(at + 1);
      return name;
    }
  }
  return std::nullopt;
}

}  // namespace

int least_quorum(const SyncConfig& now, const SyncConfig& next, const std::set<MemberName>& names) {
  if (names.empty()) return 0;
  const auto all = united(united(names, now.names), next.names);
  int least = 0;
  for (const auto* list : {&now, &next}) {
    const auto counted = list->names.size() == 1 ? united(list->names, names) : all;
    least = std::max(least, static_cast<int>(counted.size()) - list->wait_for);
  }
  return least;
}

bool keeps(const SyncConfig& now, const SyncConfig& next, const SyncVoters& voters) {
  return voters.names.empty() || voters.quorum >= least_quorum(now, next, voters.names);
}

SyncVoters voters_under(const SyncConfig& now, const SyncConfig& next, std::set<MemberName> names) {
  auto quorum = least_quorum(now, next, names);
  if (quorum >= static_cast<int>(names.size())) return {};
  return {std::move(names), quorum};
}

std::string sync_names_text(const SyncConfig& config, const std::string& of_nobody) {
  if (config.names.empty()) return of_nobody;
  std::string list;
  for (const auto& name : config.names) list += (list.empty() ? "" : ",") + quoted(name);
  bool all = config.wait_for == static_cast<int>(config.names.size());
  return fmt::format("{}{} ({})", all ? "" : "ANY ", config.wait_for, list);
}

std::optional<SyncConfig> parse_sync_names(std::string_view text) {
  SyncConfig config;
  if (text.empty() || text == "*") return config;  // who a star stands for is not known
  bool any = text.starts_with("ANY ");
  if (any) text.remove_prefix(4);
  auto blank = text.find(" (");
  if (blank == text.npos || !text.ends_with(')')) return std::nullopt;
  auto number = parse_decimal(text.substr(0, blank));
  text = text.substr(blank + 2, text.size() - blank - 3);
  for (;;) {
    auto name = take_name(text);
    if (!name) return std::nullopt;
    config.names.insert(*name);
    if (text.empty()) break;
    if (!text.starts_with(',')) return std::nullopt;
    text.remove_prefix(1);
  }
  if (!number || *number == 0 || *number > config.names.size()) return std::nullopt;
  if (!any && *number != config.names.size()) return std::nullopt;
  config.wait_for = static_cast<int>(*number);
  return config;
}

}  // namespace pgsteady::core
