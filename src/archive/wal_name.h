// The names of what PostgreSQL archives, and where they lie in the bucket. All pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace pgsteady::archive {

enum class WalKind {
  segment,  // 000000010000000000000002
  partial,  // 000000010000000000000002.partial, the last one of a timeline that ended
  backup,   // 000000010000000000000002.00000028.backup, the note of a base backup
  history,  // 00000002.history, a timeline's ancestors
};

struct WalName {
  WalKind kind = WalKind::segment;
  std::string text;
  Timeline timeline = 0;
  std::uint32_t log = 0,
                segment = 0;  // the middle and the last third of the name; not of a history

  // Where the segment begins.
  Lsn start(std::uint64_t segment_bytes) const;
};

// Nothing for any other name: that is not ours to archive.
std::optional<WalName> parse_wal_name(std::string_view text);

std::string segment_name(Timeline timeline, Lsn lsn, std::uint64_t segment_bytes);

// Without its extension: "wal_005/000000010000000000000002".
std::string wal_key(const WalName& name);

}  // namespace pgsteady::archive
