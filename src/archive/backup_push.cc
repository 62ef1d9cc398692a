#include "archive/backup_push.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <thread>

#include "archive/backup_session.h"
#include "archive/data_files.h"
#include "archive/file_packer.h"
#include "archive/system_id.h"
#include "archive/wal_name.h"
#include "postgres/files.h"

namespace pgsteady::archive {
namespace {

constexpr std::chrono::milliseconds kWalPause{200};
constexpr std::size_t kControlBytes = 8192;

std::string now_text() {
  const auto now = std::chrono::system_clock::now();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(now)),
                     micros.count() % 1000000);
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

// Two readings that agree: the server may be writing it.
Result<std::string> read_control_file(const std::string& data_dir) {
  std::string last;
  for (int i = 0; i < 20; ++i) {
    auto content = pg::read_file(data_dir + "/global/pg_control");
    if (!content) return content;
    if (content->size() == kControlBytes && *content == last) return content;
    last = std::move(*content);
  }
  return fail(ErrorKind::retry, "pg_control changes faster than it can be read");
}

class Push {
 public:
  Push(store::ObjectStore& store, const Settings& settings, const PushOptions& options)
      : store_(store), settings_(settings), options_(options) {}

  Result<PushReport> run() {
    if (auto ready = begin(); !ready) return tl::unexpected(ready.error());
    auto done = upload();
    if (!done) {
      remove_uploaded();
      return tl::unexpected(done.error());
    }
    return report_;
  }

 private:
  Backup& backup() { return report_.backup; }
  std::string folder() { return kBackupFolder + backup().name + "/"; }

  Result<void> begin() {
    const auto local = local_system_id(options_.data_dir);
    if (!local) {
      return fail(ErrorKind::refused,
                  fmt::format("{} is no data directory that can be read", options_.data_dir),
                  "run this as the user that PostgreSQL runs as");
    }
    if (auto opened = session_.open(options_.conninfo); !opened) return opened;
    backup().start_time = now_text();
    auto started = session_.start();
    if (!started) return tl::unexpected(started.error());
    start_ = *started;
    if (start_.system != *local) {
      return fail(ErrorKind::refused,
                  fmt::format("the server that answers is the system {}, {} is {}",
                              start_.system.text(), options_.data_dir, local->text()),
                  "set PGHOST and PGPORT to the server of this data directory");
    }
    // Only now is it sure whose backup this is.
    if (auto ours = claim_archive(store_, *local); !ours) return ours;
    return describe();
  }

  Result<void> describe() {
    auto& b = backup();
    b.name = "base_" + segment_name(start_.timeline, start_.lsn, start_.segment_bytes);
    b.start_lsn = start_.lsn;
    b.timeline = start_.timeline;
    b.pg_version = start_.pg_version;
    b.system = start_.system;
    b.hostname = host_name();
    b.data_dir = options_.data_dir;
    b.permanent = options_.permanent;
    bool taken = false;
    auto listed = store_.list(std::string(kBackupFolder) + b.name,
                              [&](const store::ObjectInfo&) { return !(taken = true); });
    if (!listed || !taken) return listed;
    return fail(ErrorKind::refused,
                fmt::format("there is a backup {} already, whole or unfinished", b.name),
                "try again when the server writes another WAL segment");
  }

  Result<void> upload() {
    if (auto packed = pack_files(); !packed) return packed;
    auto stopped = session_.stop();
    if (!stopped) return tl::unexpected(stopped.error());
    backup().finish_lsn = stopped->lsn;
    if (auto put = put_control_file(); !put) return put;
    if (auto put = put_label(*stopped); !put) return put;
    if (auto there = wait_for_wal(); !there) return there;
    backup().finish_time = now_text();
    for (const auto& [name, part] : backup().parts) backup().compressed_bytes += part.size_bytes;
    return put_descriptions();
  }

  Result<void> pack_files() {
    PackOptions pack{options_.data_dir, folder(), settings_.method, options_.workers, {}};
    if (start_.checksums) pack.check_pages_from = start_.lsn;
    FilePacker packer(store_, pack);
    auto walked = walk_data_directory(options_.data_dir, backup().tablespaces,
                                      [&](DataFile file) { return packer.add(std::move(file)); });
    if (!walked) return walked;
    auto parts = packer.finish();
    if (!parts) return tl::unexpected(parts.error());
    backup().parts = std::move(*parts);
    backup().uncompressed_bytes += packer.uncompressed_bytes();
    report_.bad_pages = packer.bad_pages();
    return {};
  }

  Result<void> put_part(const std::string& name,
                        const std::vector<std::pair<std::string, std::string>>& files) {
    const auto object = name + ".tar" + extension(settings_.method);
    auto part = PartWriter::create(store_, folder() + object, settings_.method);
    if (!part) return tl::unexpected(part.error());
    for (const auto& [path, content] : files) {
      const TarMember member{path, TarMember::Kind::file, content.size(),
                             0600, ::time(nullptr),       ""};
      if (auto added = (*part)->add(member, content); !added) return added;
    }
    auto sum = (*part)->finish();
    if (!sum) return tl::unexpected(sum.error());
    backup().parts[object] = *sum;
    backup().uncompressed_bytes += (*part)->uncompressed_bytes();
    return {};
  }

  Result<void> put_control_file() {
    auto control = read_control_file(options_.data_dir);
    if (!control) return tl::unexpected(control.error());
    return put_part("pg_control", {{"global/pg_control", *control}});
  }

  Result<void> put_label(const BackupStop& stop) {
    std::vector<std::pair<std::string, std::string>> files = {{"backup_label", stop.label}};
    if (!stop.tablespace_map.empty()) files.emplace_back("tablespace_map", stop.tablespace_map);
    return put_part("backup_label", files);
  }

  // Every segment from the start to the stop.
  Result<void> wait_for_wal() {
    const auto deadline = boottime_now() + options_.wal_limit;
    const auto bytes = start_.segment_bytes;
    const auto last = (backup().finish_lsn.value - 1) / bytes;
    for (auto segment = start_.lsn.value / bytes; segment <= last; ++segment) {
      const auto name = segment_name(start_.timeline, Lsn{segment * bytes}, bytes);
      if (auto there = wait_for_segment(name, deadline); !there) return there;
    }
    return {};
  }

  Result<void> wait_for_segment(const std::string& name, std::chrono::nanoseconds deadline) {
    for (;;) {
      auto found = store_.find("wal_005/" + name, all_extensions());
      if (!found) return tl::unexpected(found.error());
      if (!found->empty()) return {};
      if (boottime_now() > deadline) break;
      std::this_thread::sleep_for(kWalPause);
    }
    return fail(ErrorKind::retry,
                fmt::format("the backup needs {}, which did not come into the archive within {} s",
                            name, options_.wal_limit.count()),
                start_.in_recovery ? "select pg_switch_wal() on the primary, and look at its log"
                                   : "look at the server's log for archive_command");
  }

  Result<void> put_descriptions() {
    const auto text = boost::json::serialize(metadata_of(backup()));
    auto stored = put_text(store_, folder() + "metadata.json", text, store::Put::replace);
    if (!stored) return tl::unexpected(stored.error());
    stored = put_text(store_, sentinel_key(backup().name),
                      boost::json::serialize(sentinel_of(backup())), store::Put::if_absent);
    if (!stored) return tl::unexpected(stored.error());
    if (*stored == store::Stored::created) return {};
    return fail(ErrorKind::refused, "another backup of this name was finished meanwhile");
  }

  // Nobody takes a backup without a sentinel for one; this only saves room.
  void remove_uploaded() {
    std::vector<std::string> keys;
    (void)store_.list(folder(), [&](const store::ObjectInfo& info) {
      keys.push_back(info.key);
      return true;
    });
    for (const auto& key : keys) (void)store_.remove(key);
  }

  store::ObjectStore& store_;
  const Settings& settings_;
  const PushOptions& options_;
  BackupSession session_;
  BackupStart start_;
  PushReport report_;
};

}  // namespace

Result<PushReport> backup_push(store::ObjectStore& store, const Settings& settings,
                               const PushOptions& options) {
  return Push(store, settings, options).run();
}

}  // namespace pgsteady::archive
