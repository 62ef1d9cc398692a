#include "http/message.h"

#include <optional>

namespace pgsteady::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decoded(std::string_view text, bool plus_is_blank) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_blank) {
      result += ' ';
    } else if (text[i] != '%') {
      result += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      result += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return result;
}

bool parse_query(std::string_view query, Request& request) {
  while (!query.empty()) {
    auto pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    auto equals = pair.find('=');
    auto key = decoded(pair.substr(0, equals), true);
    auto value = decoded(equals == pair.npos ? "" : pair.substr(equals + 1), true);
    if (!key || !value) return false;
    request.query.try_emplace(*key, *value);
  }
  return true;
}

}  // namespace

bool parse_target(std::string_view target, Request& request) {
  if (!target.starts_with('/')) return false;
  target = target.substr(0, target.find('#'));
  auto mark = target.find('?');
  auto path = decoded(target.substr(0, mark), false);
  if (!path) return false;
  request.path = *path;
  return mark == target.npos || parse_query(target.substr(mark + 1), request);
}

std::string basic_authorization(const std::string& user, const std::string& password) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto plain = user + ":" + password;
  std::string text = "Basic ";
  for (std::size_t at = 0; at < plain.size(); at += 3) {
    auto byte = [&](std::size_t i) {
      return i < plain.size() ? static_cast<unsigned char>(plain[i]) : 0u;
    };
    auto group = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    for (unsigned i = 0; i < 4; ++i) {
      text += at + i <= plain.size() ? kDigits[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return text;
}

}  // namespace pgsteady::http
