#include "archive/data_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace pgsteady::archive {
namespace {

namespace fs = std::filesystem;

// What lies in these is the running server's own business.
constexpr std::string_view kEmptied[] = {"log",         "pg_log",       "pg_xlog",     "pg_wal",
                                         "pg_dynshmem", "pg_notify",    "pg_replslot", "pg_serial",
                                         "pg_stat_tmp", "pg_snapshots", "pg_subtrans"};
constexpr std::string_view kLeftOut[] = {
    "postgresql.auto.conf.tmp", "postmaster.pid",     "postmaster.opts", "recovery.conf",
    "standby.signal",           "recovery.signal",    "backup_label",    "tablespace_map",
    "backup_label.old",         "tablespace_map.old", "backup_manifest"};

template <typename Names>
bool is_one_of(const Names& names, const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_left_out(const std::string& path, const std::string& name) {
  if (path == name && is_one_of(kLeftOut, name)) return true;
  const bool control = path == "global/pg_control";  // goes last, on its own
  return control || name.starts_with("pgsql_tmp") || name.starts_with("pg_internal.init") ||
         name.ends_with(".pgsteady-new");
}

class Walk {
 public:
  Walk(const std::string& data_dir, std::vector<Tablespace>& tablespaces,
       const std::function<Result<void>(DataFile)>& each)
      : root_(data_dir), tablespaces_(tablespaces), each_(each) {}

  Result<void> directory(const std::string& path) {
    std::error_code error;
    fs::directory_iterator it(path.empty() ? root_ : root_ + "/" + path, error), end;
    for (; !error && it != end; it.increment(error)) {
      const auto name = it->path().filename().string();
      if (auto done = entry(*it, path.empty() ? name : path + "/" + name, name); !done) return done;
    }
    if (!error || error == std::errc::no_such_file_or_directory) return {};
    return fail(ErrorKind::retry,
                fmt::format("cannot read {}/{}: {}", root_, path, error.message()));
  }

 private:
  Result<void> entry(const fs::directory_entry& it, const std::string& path,
                     const std::string& name) {
    std::error_code gone;
    if (is_left_out(path, name)) return {};
    if (it.is_symlink(gone) && path.starts_with("pg_tblspc/")) return tablespace(it, path, name);
    if (it.is_directory(gone)) return inner(path, name);
    if (it.is_regular_file(gone)) return each_({path, false});
    return {};
  }

  Result<void> tablespace(const fs::directory_entry& it, const std::string& path,
                          const std::string& oid) {
    std::error_code error;
    const auto location = fs::read_symlink(it.path(), error).string();
    if (error) return {};  // dropped meanwhile
    tablespaces_.push_back({oid, location});
    return directory(path);
  }

  Result<void> inner(const std::string& path, const std::string& name) {
    if (auto put = each_({path, true}); !put) return put;
    return path == name && is_one_of(kEmptied, name) ? Result<void>() : directory(path);
  }

  const std::string root_;
  std::vector<Tablespace>& tablespaces_;
  const std::function<Result<void>(DataFile)>& each_;
};

}  // namespace

Result<void> walk_data_directory(const std::string& data_dir, std::vector<Tablespace>& tablespaces,
                                 const std::function<Result<void>(DataFile)>& each) {
  return Walk(data_dir, tablespaces, each).directory("");
}

}  // namespace pgsteady::archive
