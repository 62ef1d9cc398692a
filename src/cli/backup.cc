// Base backups: taking, listing and restoring them.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <filesystem>
#include <map>

#include "archive/backup_fetch.h"
#include "archive/backup_push.h"
#include "archive/recovery.h"
#include "archive/wal_name.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/open_archive.h"
#include "cli/table.h"

namespace pgsteady::cli {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

std::string absolute(const std::string& path) {
  std::error_code ignored;
  auto whole = fs::absolute(path, ignored).lexically_normal().string();
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  return whole;
}

Result<std::map<std::string, std::string>> mapping_of(const std::vector<std::string>& pairs) {
  std::map<std::string, std::string> mapping;
  for (const auto& pair : pairs) {
    const auto equals = pair.find('=');
    const bool good = equals != std::string::npos && pair.starts_with('/') &&
                      equals + 1 < pair.size() && pair[equals + 1] == '/';
    if (!good) {
      return fail(ErrorKind::refused, fmt::format("\"{}\" is no tablespace mapping", pair),
                  "write it as /old/place=/new/place");
    }
    mapping[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return mapping;
}

std::string size_text(std::uint64_t bytes) {
  const auto mib = static_cast<double>(bytes) / (1 << 20);
  return mib < 1024 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.1f} GiB", mib / 1024);
}

std::string time_text(WallTime time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

// "base_" and the segment that the backup starts in.
std::string start_segment(const archive::Backup& backup) {
  return backup.name.size() >= 29 ? backup.name.substr(5, 24) : "";
}

Table table_of(const std::vector<archive::Backup>& backups, const std::string& place, bool detail) {
  Table table;
  table.title = fmt::format(" Archive: {} ", place);
  table.columns = {"Archive", "Backup", "Finished", "Size", "Stored", "WAL from", "Permanent"};
  if (detail) {
    for (const char* column : {"Start LSN", "Finish LSN", "PostgreSQL", "System", "Host"}) {
      table.columns.emplace_back(column);
    }
  }
  for (const auto& b : backups) {
    const auto finished = b.finish_time.empty() ? time_text(b.modified) : b.finish_time;
    json::array row{json::value(place),
                    json::value(b.name),
                    json::value(finished),
                    json::value(size_text(b.uncompressed_bytes)),
                    json::value(b.by_wal_e ? "" : size_text(b.compressed_bytes)),
                    json::value(start_segment(b)),
                    json::value(b.permanent ? "*" : "")};
    if (detail) {
      for (const auto& text : {b.start_lsn.text(), b.finish_lsn.text(),
                               std::to_string(b.pg_version), b.system.text(), b.hostname}) {
        row.emplace_back(b.by_wal_e ? "" : text);
      }
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// The fields of WAL-G's `backup-list --detail --json`.
std::string json_of(const std::vector<archive::Backup>& backups) {
  json::array list;
  for (const auto& b : backups) {
    auto object = archive::metadata_of(b);
    object["backup_name"] = b.name;
    object["time"] = time_text(b.modified);
    object["wal_file_name"] = start_segment(b);
    list.push_back(std::move(object));
  }
  return json::serialize(list) + "\n";
}

// The offset in a segment as WAL-E writes it: eight decimal digits.
std::string offset_text(Lsn lsn, std::uint64_t segment_bytes) {
  return fmt::format("{:08}", lsn.value % segment_bytes);
}

// The size that makes the name's segment the one of the start LSN.
std::uint64_t segment_bytes_of(const archive::Backup& b) {
  for (std::uint64_t bytes = 1 << 20; bytes <= 1 << 30; bytes *= 2) {
    if (archive::segment_name(b.timeline, b.start_lsn, bytes) == start_segment(b)) return bytes;
  }
  return 16 << 20;
}

std::string tsv_row(const archive::Backup& b) {
  const auto bytes = segment_bytes_of(b);
  const bool named = b.by_wal_e && b.name.size() > 30;
  const auto last = Lsn{b.finish_lsn.value - 1};
  return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\n", b.name, time_text(b.modified),
                     b.uncompressed_bytes, start_segment(b),
                     named ? b.name.substr(30) : offset_text(b.start_lsn, bytes),
                     b.by_wal_e ? b.stop_segment : archive::segment_name(b.timeline, last, bytes),
                     b.by_wal_e ? b.stop_offset : offset_text(b.finish_lsn, bytes));
}

std::string tsv_of(const std::vector<archive::Backup>& backups) {
  std::string text =
      "name\tlast_modified\texpanded_size_bytes\twal_segment_backup_start\t"
      "wal_segment_offset_backup_start\twal_segment_backup_stop\twal_segment_offset_backup_stop\n";
  for (const auto& b : backups) text += tsv_row(b);
  return text;
}

// Fetches and says so.
Result<void> fetch(OpenArchive& opened, const archive::Backup& backup,
                   const BackupOptions& options) {
  auto mapping = mapping_of(options.tablespaces);
  if (!mapping) return tl::unexpected(mapping.error());
  auto fetched = archive::backup_fetch(*opened.store, backup,
                                       {absolute(options.data_dir), std::move(*mapping), 2});
  if (fetched) fmt::print("restored {} into {}\n", backup.name, options.data_dir);
  return fetched;
}

std::string restore_command(const BackupOptions& options) {
  std::error_code error;
  auto command = fs::read_symlink("/proc/self/exe", error).string() + " wal-fetch";
  if (!options.envdir.empty()) command += " --envdir '" + absolute(options.envdir) + "'";
  return command + " %f %p";
}

}  // namespace

int backup_push(const BackupOptions& options) {
  auto opened = open_archive(options.envdir);
  if (!opened) return complain(opened.error());
  archive::PushOptions push;
  push.data_dir = absolute(options.data_dir);
  push.permanent = options.permanent;
  push.wal_limit = std::chrono::seconds(options.wal_limit_seconds);
  auto pushed = archive::backup_push(*opened->store, opened->settings, push);
  if (!pushed) return complain(pushed.error());
  const auto& backup = pushed->backup;
  fmt::print("stored {}: {}, {} compressed, WAL {} to {}\n", backup.name,
             size_text(backup.uncompressed_bytes), size_text(backup.compressed_bytes),
             backup.start_lsn.text(), backup.finish_lsn.text());
  if (pushed->bad_pages.empty()) return 0;
  for (const auto& page : pushed->bad_pages) fmt::print(stderr, "wrong checksum: {}\n", page);
  return complain(
      {ErrorKind::corrupt,
       fmt::format("{} pages of the server have a wrong checksum; the backup was stored "
                   "and holds them as they are",
                   pushed->bad_pages.size()),
       "keep older backups, and look at the server's disk"});
}

int backup_fetch(const BackupOptions& options) {
  auto opened = open_archive(options.envdir);
  if (!opened) return complain(opened.error());
  auto backup = archive::find_backup(*opened->store, options.name);
  if (!backup) return complain(backup.error());
  auto fetched = fetch(*opened, *backup, options);
  return fetched ? 0 : complain(fetched.error());
}

int backup_list(const BackupOptions& options) {
  auto opened = open_archive(options.envdir);
  if (!opened) return complain(opened.error());
  auto backups = archive::list_backups(*opened->store);
  if (!backups) return complain(backups.error());
  if (options.as_json) {
    fmt::print("{}", json_of(*backups));
  } else if (options.as_tsv) {
    fmt::print("{}", tsv_of(*backups));
  } else {
    fmt::print("{}", render(table_of(*backups, opened->store->name(), options.detail), "pretty"));
  }
  return 0;
}

int restore(const BackupOptions& options) {
  auto opened = open_archive(options.envdir);
  if (!opened) return complain(opened.error());
  const archive::RecoveryTarget target{options.target_time, options.target_action};
  auto backup = archive::choose_backup(*opened->store, target);
  if (!backup) return complain(backup.error());
  if (options.dry_run) {
    fmt::print("would restore {}, finished {}, and replay WAL from {} {}\n", backup->name,
               backup->finish_time.empty() ? time_text(backup->modified) : backup->finish_time,
               start_segment(*backup), target.time.empty() ? "to its end" : "until " + target.time);
    return 0;
  }
  if (auto fetched = fetch(*opened, *backup, options); !fetched) return complain(fetched.error());
  auto prepared =
      archive::prepare_recovery(absolute(options.data_dir), restore_command(options), target);
  if (!prepared) return complain(prepared.error());
  fmt::print("start PostgreSQL in it, with the archive's variables in its environment{}\n",
             options.envdir.empty() ? "" : " or those of the envdir");
  return 0;
}

}  // namespace pgsteady::cli
