// What the first page of a WAL segment tells about it. Pure.
#pragma once

#include <optional>
#include <string_view>

#include "archive/wal_name.h"
#include "base/error.h"

namespace pgsteady::archive {

constexpr std::size_t kWalHeaderBytes = 40;
constexpr std::uint64_t kSmallestSegment = 1 << 20, kLargestSegment = 1 << 30;

struct WalHeader {
  SystemId system;
  Timeline timeline = 0;
  Lsn start;
  std::uint64_t segment_bytes = 0;
};

// corrupt when the page is none that begins a segment.
Result<WalHeader> parse_wal_header(std::string_view first_bytes);

// Whether a file of that size with this beginning can be the segment (or partial) of that name:
// magic, size, address, timeline, and the system if it is known. corrupt, or refused for another
// system's segment.
Result<WalHeader> check_segment(const WalName& name, std::string_view first_bytes,
                                std::uint64_t size_bytes, std::optional<SystemId> system);

}  // namespace pgsteady::archive
