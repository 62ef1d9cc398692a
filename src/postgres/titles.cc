#include "postgres/titles.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

namespace pgsteady::pg {
namespace {

constexpr std::string_view kReplays = "startup recovering ";
// In the archive, if there is one, before it streams.
constexpr std::string_view kLooksFor = "startup waiting for ";
constexpr std::string_view kReceiver = "walreceiver streaming";
constexpr std::size_t kTimeline = 8, kSegment = 16;  // a WAL file's name

}  // namespace

// The cluster's name stands before both, and may hold anything.
void add_title(RecoveryTitles& found, std::string_view title) {
  for (const auto& words : {kReplays, kLooksFor}) {
    const auto at = title.rfind(words);
    if (at == std::string_view::npos || title.size() < at + words.size() + kTimeline) continue;
    found.recovering = title.substr(at + words.size() + kTimeline, kSegment);
  }
  found.receiving = found.receiving || title.rfind(kReceiver) != std::string_view::npos;
}

RecoveryTitles recovery_titles(pid_t postmaster) {
  RecoveryTitles found;
  std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", postmaster));
  for (std::istream_iterator<pid_t> child(children), end; child != end; ++child) {
    std::ifstream file(fmt::format("/proc/{}/cmdline", *child), std::ios::binary);
    add_title(found, std::string(std::istreambuf_iterator<char>(file), {}));
  }
  return found;
}

}  // namespace pgsteady::pg
