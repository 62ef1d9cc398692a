#include "archive/wal_name.h"

#include <fmt/format.h>

#include <charconv>

namespace pgsteady::archive {
namespace {

constexpr std::size_t kThird = 8, kWhole = 24;

// Eight digits as PostgreSQL writes them: upper case.
std::optional<std::uint32_t> hex_third(std::string_view text) {
  if (text.size() < kThird) return std::nullopt;
  text = text.substr(0, kThird);
  if (text.find_first_not_of("0123456789ABCDEF") != std::string_view::npos) return std::nullopt;
  std::uint32_t value = 0;
  std::from_chars(text.data(), text.data() + kThird, value, 16);
  return value;
}

std::optional<WalKind> kind_of(std::string_view suffix) {
  if (suffix.empty()) return WalKind::segment;
  if (suffix == ".partial") return WalKind::partial;
  const bool backup = suffix.size() == 1 + kThird + 7 && suffix.ends_with(".backup") &&
                      suffix.front() == '.' && hex_third(suffix.substr(1));
  if (backup) return WalKind::backup;
  return std::nullopt;
}

}  // namespace

Lsn WalName::start(std::uint64_t segment_bytes) const {
  return Lsn{(static_cast<std::uint64_t>(log) << 32) + segment * segment_bytes};
}

std::optional<WalName> parse_wal_name(std::string_view text) {
  const auto timeline = hex_third(text);
  if (!timeline || *timeline == 0) return std::nullopt;
  WalName name{WalKind::history, std::string(text), *timeline};
  if (text.substr(kThird) == ".history") return name;
  if (text.size() < kWhole) return std::nullopt;
  const auto log = hex_third(text.substr(kThird));
  const auto segment = hex_third(text.substr(2 * kThird));
  const auto kind = kind_of(text.substr(kWhole));
  if (!log || !segment || !kind) return std::nullopt;
  name.kind = *kind;
  name.log = *log;
  name.segment = *segment;
  return name;
}

std::string segment_name(Timeline timeline, Lsn lsn, std::uint64_t segment_bytes) {
  const auto low = (lsn.value & 0xFFFFFFFF) / segment_bytes;
  return fmt::format("{:08X}{:08X}{:08X}", timeline, lsn.value >> 32, low);
}

std::string wal_key(const WalName& name) {
  return "wal_005/" + name.text;
}

}  // namespace pgsteady::archive
