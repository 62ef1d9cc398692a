// A page of a relation and its checksum, as PostgreSQL computes it (storage/checksum_impl.h). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace pgsteady::archive {

constexpr std::size_t kPageBytes = 8192;
constexpr std::uint32_t kBlocksPerSegment = 131072;  // of a relation's file: 1 GiB

// `page` has kPageBytes; `block` counts from the relation's begin, over all its files.
std::uint16_t page_checksum(std::string_view page, std::uint32_t block);

enum class PageState {
  good,
  recent,  // written since `start`: WAL has all of it, and a torn read is no fault
  bad,
};
PageState check_page(std::string_view page, std::uint32_t block, Lsn start);

// The number of a relation's file ("16384.3", "16384_fsm": 3 and 0); nothing when the file at this
// path inside the data directory has no pages with checksums.
std::optional<std::uint32_t> relation_segment(std::string_view path);

}  // namespace pgsteady::archive
