#include "archive/backup_fetch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "archive/extract.h"
#include "archive/object.h"
#include "archive/part_writer.h"
#include "postgres/files.h"

namespace pgsteady::archive {
namespace {

namespace fs = std::filesystem;

bool server_lives_in(const std::string& data_dir) {
  const auto pid = parse_decimal(pg::first_line(data_dir + "/postmaster.pid"));
  if (!pid || *pid == 0 || *pid > INT32_MAX) return false;
  return ::kill(static_cast<pid_t>(*pid), 0) == 0 || errno == EPERM;
}

Result<void> check_empty(const std::string& path, const char* what) {
  std::error_code error;
  fs::directory_iterator it(path, error);
  if (error == std::errc::no_such_file_or_directory) return {};
  if (error) {
    return fail(ErrorKind::refused, fmt::format("cannot read {}: {}", path, error.message()));
  }
  if (it == fs::directory_iterator()) return {};
  return fail(ErrorKind::refused, fmt::format("the {} {} is not empty", what, path),
              "name another one, or move its content away");
}

Result<void> make_private(const std::string& path) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (::mkdir(path.c_str(), 0700) == 0) return {};
  if (errno == EEXIST && ::chmod(path.c_str(), 0700) == 0) return {};
  return fail(ErrorKind::refused, fmt::format("cannot use {}: {}", path, std::strerror(errno)));
}

// The whole file system that it lies on: one call instead of one per file.
Result<void> sync_all(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::syncfs(fd) == 0;
  const int number = errno;
  if (fd >= 0) ::close(fd);
  if (synced) return {};
  return fail(ErrorKind::retry, fmt::format("cannot sync {}: {}", path, std::strerror(number)));
}

class Fetch {
 public:
  Fetch(store::ObjectStore& store, const Backup& backup, const FetchOptions& options)
      : store_(store), backup_(backup), options_(options) {}

  Result<void> run() {
    if (auto good = check_target(); !good) return good;
    if (auto listed = list_parts(); !listed) return listed;
    if (auto made = make_private(options_.data_dir); !made) return made;
    if (auto linked = link_tablespaces(); !linked) return linked;
    if (auto extracted = extract_all(); !extracted) return extracted;
    if (auto moved = move_tablespace_map(); !moved) return moved;
    if (auto checked = check_result(); !checked) return checked;
    return complete();
  }

 private:
  std::string in_data(const std::string& name) const { return options_.data_dir + "/" + name; }

  std::string location_of(const Tablespace& space) const {
    auto found = options_.tablespaces.find(space.location);
    return found == options_.tablespaces.end() ? space.location : found->second;
  }

  Result<void> check_target() const {
    if (server_lives_in(options_.data_dir)) {
      return fail(ErrorKind::refused, "attempting to overwrite a live data directory",
                  fmt::format("a server runs in {}", options_.data_dir));
    }
    if (auto empty = check_empty(options_.data_dir, "directory"); !empty) return empty;
    if (!backup_.base_of_delta.empty()) {
      return fail(
          ErrorKind::refused,
          fmt::format("{} holds only what changed since {}", backup_.name, backup_.base_of_delta),
          "deltas are not restored yet: take a full backup, or use WAL-G for this one");
    }
    for (const auto& space : backup_.tablespaces) {
      if (auto empty = check_empty(location_of(space), "tablespace's place"); !empty) return empty;
    }
    return {};
  }

  Result<void> list_parts() {
    const auto folder = kBackupFolder + backup_.name + "/";
    auto listed = store_.list(folder, [&](const store::ObjectInfo& info) {
      if (info.key.find(".tar") != std::string::npos)
        keys_.push_back(info.key.substr(folder.size()));
      return true;
    });
    if (!listed) return listed;
    for (const auto& [name, sum] : backup_.parts) {
      if (std::find(keys_.begin(), keys_.end(), name) == keys_.end()) {
        return fail(ErrorKind::corrupt, fmt::format("{} has lost {}", backup_.name, name),
                    "restore another backup: backup-list shows what there is");
      }
    }
    if (!keys_.empty()) return {};
    return fail(ErrorKind::corrupt, fmt::format("{} has no parts", backup_.name));
  }

  Result<void> link_tablespaces() const {
    for (const auto& space : backup_.tablespaces) {
      const auto place = location_of(space), link = in_data("pg_tblspc/" + space.oid);
      if (auto made = make_private(place); !made) return made;
      if (auto made = make_private(in_data("pg_tblspc")); !made) return made;
      if (::symlink(place.c_str(), link.c_str()) != 0) {
        return fail(ErrorKind::retry,
                    fmt::format("cannot create {}: {}", link, std::strerror(errno)));
      }
    }
    return {};
  }

  // Each worker takes the next part; the first error ends all.
  Result<void> extract_all() {
    std::vector<std::thread> threads;
    for (int i = 0; i < options_.workers; ++i) {
      threads.emplace_back([this] {
        for (std::size_t part; !stop_ && (part = next_++) < keys_.size();)
          note(extract(keys_[part]));
      });
    }
    for (auto& thread : threads) thread.join();
    if (error_) return tl::unexpected(*error_);
    return {};
  }

  void note(const Result<void>& result) {
    if (result) return;
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (!error_) error_ = result.error();
  }

  Result<void> extract(const std::string& name) {
    Extractor extractor(options_.data_dir);
    TarReader tar(extractor);
    Sha256 sum;
    std::uint64_t size = 0;
    const Sink raw = [&](std::string_view bytes) -> Result<void> {
      if (stop_) return fail(ErrorKind::retry, "given up");
      sum.add(bytes);
      size += bytes.size();
      return {};
    };
    const auto key = kBackupFolder + backup_.name + "/" + name;
    auto read = read_object(
        store_, key, [&](std::string_view bytes) { return tar.feed(bytes); }, raw);
    if (read) read = tar.finish();
    if (!read && read.error().kind == ErrorKind::not_found) {
      return fail(ErrorKind::corrupt, fmt::format("{} disappeared while it was read", key));
    }
    if (!read) return read;
    const auto known = backup_.parts.find(name);
    if (known == backup_.parts.end()) return {};
    if (known->second.size_bytes == size && known->second.sha256 == sum.hex()) return {};
    return fail(ErrorKind::corrupt,
                fmt::format("{} in {} is not what the backup stored there", key, store_.name()),
                "restore another backup: backup-list shows what there is");
  }

  // The server makes the links anew from this file when it starts.
  Result<void> move_tablespace_map() const {
    if (options_.tablespaces.empty() || backup_.tablespaces.empty()) return {};
    std::string text;
    for (const auto& space : backup_.tablespaces)
      text += space.oid + " " + location_of(space) + "\n";
    return pg::write_file(in_data("tablespace_map"), text, 0600);
  }

  Result<void> check_result() const {
    for (const char* name : {"PG_VERSION", kStagedControlFile, "backup_label"}) {
      if (::access(in_data(name).c_str(), F_OK) == 0) continue;
      return fail(ErrorKind::corrupt, fmt::format("{} holds no {}", backup_.name, name));
    }
    return {};
  }

  Result<void> complete() const {
    // What a backup leaves out, and a server wants to find.
    for (const char* name : {"pg_wal", "pg_wal/archive_status", "pg_notify", "pg_replslot",
                             "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans",
                             "pg_dynshmem", "pg_tblspc", "pg_twophase", "pg_commit_ts"}) {
      if (auto made = make_private(in_data(name)); !made) return made;
    }
    if (auto synced = sync_all(options_.data_dir); !synced) return synced;
    for (const auto& space : backup_.tablespaces) {
      if (auto synced = sync_all(location_of(space)); !synced) return synced;
    }
    if (::rename(in_data(kStagedControlFile).c_str(), in_data(kControlFile).c_str()) != 0) {
      return fail(ErrorKind::retry,
                  fmt::format("cannot create {}: {}", in_data(kControlFile), std::strerror(errno)));
    }
    return sync_all(options_.data_dir);
  }

  store::ObjectStore& store_;
  const Backup& backup_;
  const FetchOptions& options_;
  std::vector<std::string> keys_;  // below the backup's folder
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace

Result<void> backup_fetch(store::ObjectStore& store, const Backup& backup,
                          const FetchOptions& options) {
  return Fetch(store, backup, options).run();
}

}  // namespace pgsteady::archive
