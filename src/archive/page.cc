#include "archive/page.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace pgsteady::archive {
namespace {

constexpr std::size_t kSums = 32;
constexpr std::uint32_t kPrime = 16777619;
constexpr std::array<std::uint32_t, kSums> kOffsets = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

// PageHeaderData: pd_lsn (two halves), pd_checksum, pd_flags, pd_lower, pd_upper.
constexpr std::size_t kChecksumAt = 8, kUpperAt = 14;

inline std::uint32_t mix(std::uint32_t sum, std::uint32_t value) {
  const std::uint32_t turned = sum ^ value;
  return turned * kPrime ^ (turned >> 17);
}

std::uint16_t half_at(std::string_view page, std::size_t at) {
  std::uint16_t value;
  std::memcpy(&value, page.data() + at, sizeof value);
  return value;
}

Lsn lsn_of(std::string_view page) {
  std::uint32_t high, low;
  std::memcpy(&high, page.data(), sizeof high);
  std::memcpy(&low, page.data() + 4, sizeof low);
  return Lsn{(static_cast<std::uint64_t>(high) << 32) | low};
}

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::uint16_t page_checksum(std::string_view page, std::uint32_t block) {
  alignas(64) std::array<std::uint32_t, kPageBytes / 4> words;
  std::memcpy(words.data(), page.data(), kPageBytes);
  words[kChecksumAt / 4] &= 0xFFFF0000;  // the field itself counts as zero
  auto sums = kOffsets;
  for (std::size_t row = 0; row < words.size(); row += kSums) {
    for (std::size_t i = 0; i < kSums; ++i) sums[i] = mix(sums[i], words[row + i]);
  }
  for (int round = 0; round < 2; ++round) {
    for (auto& sum : sums) sum = mix(sum, 0);
  }
  std::uint32_t result = 0;
  for (auto sum : sums) result ^= sum;
  result ^= block;
  return static_cast<std::uint16_t>(result % 65535 + 1);
}

PageState check_page(std::string_view page, std::uint32_t block, Lsn start) {
  if (half_at(page, kUpperAt) == 0) return PageState::good;  // new: never written
  if (half_at(page, kChecksumAt) == page_checksum(page, block)) return PageState::good;
  return lsn_of(page) >= start ? PageState::recent : PageState::bad;
}

std::optional<std::uint32_t> relation_segment(std::string_view path) {
  const bool in_place =
      path.starts_with("base/") || path.starts_with("global/") || path.starts_with("pg_tblspc/");
  if (!in_place) return std::nullopt;
  auto name = path.substr(path.rfind('/') + 1);
  std::uint32_t segment = 0;
  if (const auto dot = name.find('.'); dot != std::string_view::npos) {
    const auto number = parse_decimal(name.substr(dot + 1));
    if (!number || *number > UINT32_MAX / kBlocksPerSegment) return std::nullopt;
    segment = static_cast<std::uint32_t>(*number);
    name = name.substr(0, dot);
  }
  for (std::string_view fork : {"_fsm", "_vm", "_init"}) {
    if (name.ends_with(fork)) name.remove_suffix(fork.size());
  }
  if (!all_digits(name)) return std::nullopt;
  return segment;
}

}  // namespace pgsteady::archive
