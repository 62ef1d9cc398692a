#include "postgres/conninfo.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <algorithm>
#include <charconv>
#include <memory>

namespace pgsteady::pg {
namespace {

// The text between quotes, with each of `special` preceded by `escape`.
std::string escaped(std::string_view text, std::string_view special, char escape) {
  std::string result;
  for (char c : text) {
    if (special.find(c) != std::string_view::npos) result += escape;
    result += c;
  }
  return result;
}

}  // namespace

std::string conninfo(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string result;
  for (const auto& [key, value] : pairs) {
    if (value.empty()) continue;
    if (!result.empty()) result += ' ';
    result += key + "='" + escaped(value, "'\\", '\\') + "'";
  }
  return result;
}

std::string upstream_of_conninfo(const std::string& text) {
  if (text.empty()) return {};
  std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(text.c_str(), nullptr), &PQconninfoFree);
  HostPort found{"", 5432};
  for (auto* option = options.get(); option && option->keyword; ++option) {
    if (!option->val) continue;
    const std::string_view key = option->keyword, value = option->val;
    if (key == "host") found.host = value;
    if (key == "port") std::from_chars(value.data(), value.data() + value.size(), found.port);
  }
  return found.host.empty() ? std::string() : found.text();
}

std::string sql_literal(std::string_view text) {
  const bool backslash = text.find('\\') != std::string_view::npos;
  std::string result = backslash ? "E'" : "'";
  for (char c : text) {
    if (c == '\'' || c == '\\') result += c;
    result += c;
  }
  return result + "'";
}

std::string sql_identifier(std::string_view name) {
  return '"' + escaped(name, "\"", '"') + '"';
}

std::string guc_literal(std::string_view value) {
  std::string result = "'";
  for (char c : value) {
    if (c == '\n' || c == '\r') {
      result += c == '\n' ? "\\n" : "\\r";  // a literal line break would end the setting
      continue;
    }
    if (c == '\'' || c == '\\') result += c;
    result += c;
  }
  return result + "'";
}

std::string pgpass_field(std::string_view field) {
  return escaped(field, ":\\", '\\');
}

}  // namespace pgsteady::pg
