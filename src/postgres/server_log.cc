#include "postgres/server_log.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

namespace pgsteady::pg {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kTailBytes = 64u << 10;
constexpr std::size_t kLineBytes = 400;

// Lines that a client caused, or that follow from a stop.
bool is_of_a_client(std::string_view line) {
  static constexpr std::array<std::string_view, 6> kWords = {
      "the database system is",  "terminating ",  "authentication failed", "no pg_hba.conf entry",
      "sorry, too many clients", "does not exist"};
  return std::any_of(kWords.begin(), kWords.end(), [&](std::string_view words) {
    return line.find(words) != std::string_view::npos;
  });
}

bool is_a_refusal(std::string_view line) {
  const auto has = [&](std::string_view words) {
    return line.find(words) != std::string_view::npos;
  };
  if (has("is behind recovery timeline")) return true;
  return (has("WAL stream") || has("timeline history file")) && has("ERROR:") &&
         !has("replication slot");
}

}  // namespace

LogMark mark_log(const std::string& directory) {
  LogMark mark;
  fs::file_time_type newest = fs::file_time_type::min();
  std::error_code error, none;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const auto written = it->last_write_time(none);
    if (none || !it->is_regular_file(none) || written < newest) continue;
    newest = written;
    mark = {it->path().string(), it->file_size(none)};
  }
  return mark;
}

Complaints complaints_in(std::string_view log) {
  Complaints found;
  for (std::size_t at = 0; at < log.size();) {
    const auto end = std::min(log.find('\n', at), log.size());
    const auto line = log.substr(at, end - at);
    const auto level = std::min(line.find("FATAL: "), line.find("PANIC: "));
    if (level != std::string_view::npos && is_a_refusal(line)) {
      found.refusal = line.substr(level, kLineBytes);
      found.refused_at = at;
    }
    if (level != std::string_view::npos && !is_of_a_client(line)) {
      found.last = line.substr(level, kLineBytes);
    }
    at = end + 1;
  }
  return found;
}

Complaints complaints_since(const std::string& directory, const LogMark& mark) {
  const auto now = mark_log(directory);
  if (now.file.empty()) return {};
  // Another file, or the same one of a week before, cut off and written over.
  auto from = now.file == mark.file && now.bytes >= mark.bytes ? mark.bytes : 0;
  if (now.bytes - from > kTailBytes) from = now.bytes - kTailBytes;
  std::ifstream file(now.file, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(from));
  std::string text(static_cast<std::size_t>(now.bytes - from), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, file.gcount())));
  auto found = complaints_in(text);
  found.refused_at += from;
  return found;
}

}  // namespace pgsteady::pg
