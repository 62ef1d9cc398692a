#include "base/types.h"

#include <fmt/format.h>
#include <charconv>

namespace pgsteady {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  return parse_number(text, 10);
}

std::string Lsn::text() const {
  return fmt::format("{:X}/{:X}", value >> 32, value & 0xFFFFFFFF);
}

std::optional<Lsn> Lsn::parse(std::string_view text) {
  auto slash = text.find('/');
  if (slash > 8 || text.size() - slash - 1 > 8) return std::nullopt;  // without one it is npos
  auto high = parse_number(text.substr(0, slash), 16);
  auto low = parse_number(text.substr(slash + 1), 16);
  if (!high || !low) return std::nullopt;
  return Lsn{(*high << 32) | *low};
}

std::optional<SystemId> SystemId::parse(std::string_view text) {
  auto value = parse_decimal(text);
  if (!value || *value == 0) return std::nullopt;
  return SystemId{*value};
}

}  // namespace pgsteady
