#include "archive/wal_header.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace pgsteady::archive {
namespace {

static_assert(std::endian::native == std::endian::little, "WAL is read in its own byte order");

// XLogLongPageHeaderData of src/include/access/xlog_internal.h.
struct LongHeader {
  std::uint16_t magic, info;
  std::uint32_t timeline;
  std::uint64_t address;
  std::uint32_t remaining, padding;
  std::uint64_t system;
  std::uint32_t segment_bytes, block_bytes;
};
static_assert(sizeof(LongHeader) == kWalHeaderBytes);

constexpr std::uint16_t kLongHeader = 0x0002;
// XLOG_PAGE_MAGIC rises with each release: 9.5 has D087, 15 has D110, 18 has D118.
constexpr std::uint16_t kOldestMagic = 0xD061, kNewestMagic = 0xD1FF;

tl::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorKind::corrupt, std::move(message));
}

}  // namespace

Result<WalHeader> parse_wal_header(std::string_view first_bytes) {
  LongHeader header;
  if (first_bytes.size() < sizeof header) return corrupt("is shorter than a page header");
  std::memcpy(&header, first_bytes.data(), sizeof header);
  if (header.magic < kOldestMagic || header.magic > kNewestMagic) {
    return corrupt(fmt::format("begins with {:04X}, which is no WAL page", header.magic));
  }
  if (!(header.info & kLongHeader)) return corrupt("its first page does not begin a segment");
  const bool sensible = std::has_single_bit(header.segment_bytes) &&
                        header.segment_bytes >= kSmallestSegment &&
                        header.segment_bytes <= kLargestSegment;
  if (!sensible) return corrupt(fmt::format("tells a segment size of {}", header.segment_bytes));
  return WalHeader{SystemId{header.system}, header.timeline, Lsn{header.address},
                   header.segment_bytes};
}

Result<WalHeader> check_segment(const WalName& name, std::string_view first_bytes,
                                std::uint64_t size_bytes, std::optional<SystemId> system) {
  if (size_bytes == 0) return corrupt(fmt::format("{} is empty", name.text));
  auto header = parse_wal_header(first_bytes);
  if (!header) return corrupt(fmt::format("{} {}", name.text, header.error().message));
  if (size_bytes != header->segment_bytes) {
    return corrupt(fmt::format("{} has {} bytes, its header says {}", name.text, size_bytes,
                               header->segment_bytes));
  }
  if (system && *system != header->system) {
    return fail(ErrorKind::refused, fmt::format("{} belongs to the system {}, not to {}", name.text,
                                                header->system.text(), system->text()));
  }
  if (const auto wanted = name.start(header->segment_bytes); header->start != wanted) {
    return corrupt(fmt::format("{} begins at {}, its name says {}", name.text, header->start.text(),
                               wanted.text()));
  }
  // The first segment of a new timeline begins with pages of the one before.
  if (header->timeline > name.timeline) {
    return corrupt(fmt::format("{} has pages of timeline {}", name.text, header->timeline));
  }
  return header;
}

}  // namespace pgsteady::archive
