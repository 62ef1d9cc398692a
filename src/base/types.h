// The numbers of PostgreSQL as types of their own: an LSN never compares as text, a timeline is
// never mistaken for a count.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgsteady {

using MemberName = std::string;  // the `name` of a node, unique within a cluster

// A byte position in the write-ahead log. Written as "16/B374D848": high and low half in hex.
struct Lsn {
  std::uint64_t value = 0;

  auto operator<=>(const Lsn&) const = default;
  std::string text() const;
  // Accepts exactly PostgreSQL's notation (1 to 8 hex digits on each side).
  static std::optional<Lsn> parse(std::string_view text);
};

// Signed distance in bytes.
inline std::int64_t operator-(Lsn a, Lsn b) {
  return static_cast<std::int64_t>(a.value) - static_cast<std::int64_t>(b.value);
}

using Timeline = std::uint32_t;  // 0 means "not known"

// The database system identifier that initdb makes; decimal text in etcd and in pg_controldata.
struct SystemId {
  std::uint64_t value = 0;

  auto operator<=>(const SystemId&) const = default;
  std::string text() const { return std::to_string(value); }
  static std::optional<SystemId> parse(std::string_view text);
};

// Decimal digits only, no sign or blanks; nullopt when there is anything else or it overflows.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

}  // namespace pgsteady
