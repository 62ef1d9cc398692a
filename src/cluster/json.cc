#include "cluster/json.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/parse.hpp>
#include <cctype>

namespace pgsteady {
namespace {

constexpr std::size_t kTextLimitBytes = 1 << 20;

}  // namespace

Result<boost::json::value> parse_json(std::string_view text) {
  if (text.size() > kTextLimitBytes) return fail(ErrorKind::corrupt, "longer than 1 MiB");
  boost::json::error_code error;
  boost::json::parse_options options;
  options.max_depth = 32;
  auto value = boost::json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return fail(ErrorKind::corrupt, fmt::format("not JSON: {}", error.message()));
  return value;
}

Result<boost::json::object> parse_json_object(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return tl::unexpected(value.error());
  if (!value->is_object()) return fail(ErrorKind::corrupt, "expected a JSON object");
  return std::move(value->as_object());
}

std::optional<bool> json_to_bool(const boost::json::value& value) {
  if (value.is_bool()) return value.as_bool();
  if (value.is_int64()) return value.as_int64() != 0;
  if (!value.is_string()) return std::nullopt;
  std::string lower(value.as_string());
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (lower == "true" || lower == "yes" || lower == "on" || lower == "1") return true;
  if (lower == "false" || lower == "no" || lower == "off" || lower == "0") return false;
  return std::nullopt;
}

std::optional<std::int64_t> json_to_int(const boost::json::value& value) {
  if (value.is_int64()) return value.as_int64();
  if (!value.is_string()) return std::nullopt;
  std::string_view text = value.as_string();
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  auto number = parse_decimal(text);
  if (!number || *number > INT64_MAX) return std::nullopt;
  return negative ? -static_cast<std::int64_t>(*number) : static_cast<std::int64_t>(*number);
}

const boost::json::value* FieldReader::find(std::string_view key) const {
  const auto* value = object_.if_contains({key.data(), key.size()});
  return value && !value->is_null() ? value : nullptr;
}

void FieldReader::complain(std::string_view key, std::string_view expected) {
  findings_.push_back(fmt::format("{}: expected {}", key, expected));
}

void FieldReader::text(std::string_view key, std::string& out) {
  const auto* value = find(key);
  if (!value) return;
  if (value->is_string()) {
    out = std::string(value->as_string());
  } else {
    complain(key, "a text");
  }
}

void FieldReader::flag(std::string_view key, bool& out) {
  const auto* value = find(key);
  if (!value) return;
  auto flag = json_to_bool(*value);
  if (flag) {
    out = *flag;
  } else {
    complain(key, "true or false");
  }
}

void FieldReader::number(std::string_view key, std::int64_t& out) {
  const auto* value = find(key);
  if (!value) return;
  auto number = json_to_int(*value);
  if (number) {
    out = *number;
  } else {
    complain(key, "a whole number");
  }
}

void FieldReader::lsn(std::string_view key, std::optional<Lsn>& out) {
  const auto* value = find(key);
  if (!value) return;
  auto number = json_to_int(*value);
  if (number && *number >= 0) {
    out = Lsn{static_cast<std::uint64_t>(*number)};
  } else {
    complain(key, "a WAL position as a number");
  }
}

}  // namespace pgsteady
