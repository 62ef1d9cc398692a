#include "archive/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "archive/object.h"
#include "archive/wal_name.h"
#include "postgres/conninfo.h"
#include "postgres/control_file.h"
#include "postgres/files.h"

namespace pgsteady::archive {
namespace {

constexpr char kTimeHint[] = "write it as '2026-11-22 14:03:00+00'";

tl::unexpected<Error> bad_time(const std::string& text, const char* why) {
  return fail(ErrorKind::refused, fmt::format("\"{}\" is no point in time: {}", text, why),
              kTimeHint);
}

// "+02", "+0200", "-03:30", "Z" or "" → seconds east; nothing when it is none of these.
std::optional<long> zone_of(std::string_view text) {
  if (text == "Z" || text == "z" || text == "UTC") return 0;
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  std::string digits;
  for (char c : text.substr(1)) {
    if (c == ':' && digits.size() == 2) continue;
    if (c < '0' || c > '9') return std::nullopt;
    digits += c;
  }
  if (digits.size() != 2 && digits.size() != 4) return std::nullopt;
  const long hours = std::stol(digits.substr(0, 2));
  const long minutes = digits.size() == 4 ? std::stol(digits.substr(2)) : 0;
  if (hours > 15 || minutes > 59) return std::nullopt;
  const long seconds = hours * 3600 + minutes * 60;
  return text[0] == '-' ? -seconds : seconds;
}

// Takes ".123456" off the front.
std::chrono::microseconds take_fraction(std::string_view& text) {
  if (!text.starts_with('.')) return {};
  text.remove_prefix(1);
  long value = 0, unit = 100000;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    value += (text[0] - '0') * unit;
    unit /= 10;
    text.remove_prefix(1);
  }
  return std::chrono::microseconds(value);
}

// Whether the way to `timeline` passes through this backup.
bool leads_there(const Backup& backup, Timeline timeline,
                 const std::vector<TimelineSwitch>& history) {
  if (backup.timeline == timeline) return true;
  return std::any_of(history.begin(), history.end(), [&](const TimelineSwitch& ancestor) {
    return ancestor.timeline == backup.timeline && backup.finish_lsn <= ancestor.end;
  });
}

WallTime end_of(const Backup& backup) {
  const auto finished = parse_target_time(backup.finish_time);
  return finished ? *finished : backup.modified;
}

// The newest timeline that the archive knows.
Result<Timeline> latest_timeline(store::ObjectStore& store, const std::vector<Backup>& backups) {
  Timeline latest = 1;
  for (const auto& backup : backups) latest = std::max(latest, backup.timeline);
  // Timelines are made one after the other: histories of later ones only come later.
  for (;;) {
    auto next = find_object(store, "wal_005/" + pg::history_file_name(latest + 1));
    if (next) {
      ++latest;
    } else if (next.error().kind == ErrorKind::not_found) {
      return latest;
    } else {
      return tl::unexpected(next.error());
    }
  }
}

Result<std::vector<TimelineSwitch>> history_of(store::ObjectStore& store, Timeline timeline) {
  if (timeline <= 1) return std::vector<TimelineSwitch>();
  auto object = find_object(store, "wal_005/" + pg::history_file_name(timeline));
  if (!object) return tl::unexpected(object.error());
  std::string text;
  auto read = read_object(store, object->key, [&](std::string_view bytes) -> Result<void> {
    text += bytes;
    return {};
  });
  if (!read) return tl::unexpected(read.error());
  return pg::parse_history(text);
}

}  // namespace

Result<WallTime> parse_target_time(const std::string& text) {
  std::tm time{};
  auto plain = text;
  if (plain.size() > 10 && plain[10] == 'T') plain[10] = ' ';
  const char* rest = ::strptime(plain.c_str(), "%Y-%m-%d %H:%M:%S", &time);
  if (!rest) return bad_time(text, "date and time can't be read");
  std::string_view left(rest);
  const auto fraction = take_fraction(left);
  while (left.starts_with(' ')) left.remove_prefix(1);
  if (left.empty()) return bad_time(text, "its zone is missing");
  const auto zone = zone_of(left);
  if (!zone) return bad_time(text, "its zone can't be read");
  return WallTime(std::chrono::seconds(::timegm(&time) - *zone) + fraction);
}

Result<Backup> choose_backup(const std::vector<Backup>& backups, std::optional<WallTime> target,
                             Timeline timeline, const std::vector<TimelineSwitch>& history) {
  const Backup* best = nullptr;
  for (const auto& backup : backups) {
    const bool good = leads_there(backup, timeline, history) && backup.base_of_delta.empty();
    const bool in_time = !target || end_of(backup) <= *target;
    if (good && in_time && (!best || end_of(backup) > end_of(*best))) best = &backup;
  }
  if (best) return *best;
  return fail(ErrorKind::refused,
              target ? fmt::format("no backup on the way to timeline {} ended before {}", timeline,
                                   iso_time(*target))
                     : fmt::format("there is no backup on the way to timeline {}", timeline),
              "backup-list shows what there is");
}

Result<Backup> choose_backup(store::ObjectStore& store, const RecoveryTarget& target) {
  std::optional<WallTime> time;
  if (!target.time.empty()) {
    auto parsed = parse_target_time(target.time);
    if (!parsed) return tl::unexpected(parsed.error());
    time = *parsed;
  }
  auto backups = list_backups(store);
  if (!backups) return tl::unexpected(backups.error());
  auto timeline = latest_timeline(store, *backups);
  if (!timeline) return tl::unexpected(timeline.error());
  auto history = history_of(store, *timeline);
  if (!history) return tl::unexpected(history.error());
  return choose_backup(*backups, time, *timeline, *history);
}

Result<void> prepare_recovery(const std::string& data_dir, const std::string& restore_command,
                              const RecoveryTarget& target) {
  const auto path = data_dir + "/postgresql.auto.conf";
  auto text = pg::read_file(path);
  if (!text && text.error().kind != ErrorKind::not_found) return tl::unexpected(text.error());
  auto settings = text.value_or("");
  settings += fmt::format("\n# by pgsteady restore\nrestore_command = {}\n",
                          pg::guc_literal(restore_command));
  settings += "recovery_target_timeline = 'latest'\n";
  // Other targets that the backup's own files set would be a conflict.
  settings += fmt::format("recovery_target = ''\nrecovery_target_time = {}\n",
                          pg::guc_literal(target.time));
  settings += fmt::format("recovery_target_action = {}\n", pg::guc_literal(target.action));
  if (auto written = pg::write_file(path, settings, 0600); !written) return written;
  return pg::write_file(data_dir + "/recovery.signal", "", 0600);
}

}  // namespace pgsteady::archive
