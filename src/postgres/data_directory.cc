// The data directory as a whole: what it is, and emptying it without losing the only copy of WAL.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>

#include "base/log.h"
#include "postgres/aside.h"
#include "postgres/control_file.h"
#include "postgres/files.h"
#include "postgres/impl.h"

namespace pgsteady::pg {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeptDirectories = 2;
constexpr std::uintmax_t kKeptBytes = 4ull << 30;
constexpr std::uintmax_t kCopiedBytes = 1ull << 30;  // copying takes time, moving does not
// The work is bounded in bytes and goes on where it was left: this is against a hung disk alone.
constexpr std::chrono::hours kWorkLimit{1};

using Flag = std::shared_ptr<std::atomic<bool>>;

// The work beside the loop ends soon after its caller does.
struct StopsWhenLeft {
  Flag stop;
  ~StopsWhenLeft() { *stop = true; }
};

// A mount point's own entry, not PostgreSQL's.
bool is_ours(const fs::path& entry) {
  return entry.filename() != "lost+found";
}

bool is_wal_name(const std::string& name) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  const bool segment = name.size() >= 24 && std::all_of(name.begin(), name.begin() + 24, hex);
  const bool partial = segment && (name.size() == 24 || name.ends_with(".partial"));
  const bool history = name.size() == 16 && name.ends_with(".history");
  return partial || history;
}

// Where a segment begins, from its name and size; nullopt: a history file.
std::optional<Lsn> begin_of(const fs::path& path, std::uintmax_t bytes) {
  const auto name = path.filename().string();
  if (name.size() < 24) return std::nullopt;
  unsigned long log = 0, segment = 0;
  std::from_chars(name.data() + 8, name.data() + 16, log, 16);
  std::from_chars(name.data() + 16, name.data() + 24, segment, 16);
  return Lsn{(static_cast<std::uint64_t>(log) << 32) + segment * bytes};
}

// A segment made in advance from an old one holds that one's content until it is written: its first
// page tells another address than its name.
bool is_written(const fs::path& path, Lsn begin) {
  struct {
    std::uint16_t magic, info;
    std::uint32_t timeline;
    std::uint64_t address;
  } page{};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool read = fd >= 0 && ::read(fd, &page, sizeof page) == sizeof page;
  if (fd >= 0) ::close(fd);
  return read && page.address == begin.value;
}

struct Kept {
  fs::path path;
  std::uintmax_t bytes = 0;
};

// History files, and segments with anything at `parted_at` or after it; newest first: their names
// sort by timeline and place.
std::vector<Kept> wal_files(const fs::path& pg_wal, Lsn parted_at) {
  std::vector<Kept> files;
  std::error_code error;
  for (fs::directory_iterator it(pg_wal, error), end; !error && it != end; it.increment(error)) {
    const auto name = it->path().filename().string();
    if (!is_wal_name(name) || !it->is_regular_file(error)) continue;
    const auto bytes = it->file_size(error);
    if (error) continue;
    const auto begin = begin_of(it->path(), bytes);
    const bool wanted =
        !begin || (begin->value + bytes > parted_at.value && is_written(it->path(), *begin));
    if (wanted) files.push_back({it->path(), bytes});
  }
  std::sort(files.begin(), files.end(),
            [](const Kept& a, const Kept& b) { return a.path.filename() > b.path.filename(); });
  return files;
}

std::error_code sync(const fs::path& path) {
  std::error_code error;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::fsync(fd) != 0) error.assign(errno, std::generic_category());
  if (fd >= 0) ::close(fd);
  return error;
}

// Made under another name, so that what has its own is whole; with its original's time.
std::error_code copy_durably(const fs::path& from, const fs::path& to) {
  std::error_code error;
  const auto written_at = fs::last_write_time(from, error);
  if (error) return error;
  auto part = to;
  part += ".part";
  fs::copy_file(from, part, fs::copy_options::overwrite_existing, error);
  if (!error) error = sync(part);
  if (!error) fs::last_write_time(part, written_at, error);
  if (!error) fs::rename(part, to, error);
  return error;
}

std::error_code move_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  return error == std::errc::cross_device_link ? copy_durably(from, to) : error;
}

bool is_copy_of(const fs::path& original, const fs::path& copy) {
  std::error_code error;
  const bool same = fs::last_write_time(original, error) == fs::last_write_time(copy, error) &&
                    fs::file_size(original, error) == fs::file_size(copy, error);
  return same && !error;
}

// What is kept is never replaced: a rewind that broke off has written over the segment since, and
// an agent that was restarted in the midst of many copies does not make them again.
std::error_code keep_file(const fs::path& from, fs::path to, bool move) {
  std::error_code error;
  if (fs::exists(to, error)) {
    if (is_copy_of(from, to)) return {};
    to += ".later";
  }
  return error ? error : move ? move_file(from, to) : copy_durably(from, to);
}

// Like remove_all, but it can be stopped: a directory may be large.
void remove_tree(const fs::path& path, const Flag& stop, std::error_code& error) {
  if (fs::is_directory(fs::symlink_status(path, error)) && !error) {
    std::vector<fs::path> entries;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      entries.push_back(it->path());
    }
    for (const auto& entry : entries) {
      if (!error) remove_tree(entry, stop, error);
    }
  }
  if (!error && *stop) error = std::make_error_code(std::errc::operation_canceled);
  if (!error) fs::remove(path, error);
}

void remove_content(const fs::path& directory, const Flag& stop, std::error_code& error) {
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (is_ours(it->path())) entries.push_back(it->path());
  }
  for (const auto& entry : entries) {
    if (!error) remove_tree(entry, stop, error);
  }
}

// Tablespaces and a pg_wal elsewhere: what stands behind the links is this server's too.
void remove_behind_links(const fs::path& data, const Flag& stop, std::error_code& error) {
  std::error_code none;
  if (fs::is_symlink(data / "pg_wal", none) && fs::is_directory(data / "pg_wal", none)) {
    remove_content(fs::canonical(data / "pg_wal", none), stop, error);
  }
  for (fs::directory_iterator it(data / "pg_tblspc", none), end; !none && it != end;
       it.increment(none)) {
    if (!it->is_symlink(none)) continue;
    for (fs::directory_iterator in(it->path(), none); !none && in != end; in.increment(none)) {
      if (in->path().filename().string().starts_with("PG_") && !error) {
        remove_tree(in->path(), stop, error);
      }
    }
  }
}

// Leaves room for one more.
void drop_oldest(const fs::path& parent) {
  std::vector<fs::path> kept;
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    kept.push_back(it->path());
  }
  std::sort(kept.begin(), kept.end(), [](const fs::path& a, const fs::path& b) {
    std::error_code none;
    return fs::last_write_time(a, none) < fs::last_write_time(b, none);
  });
  for (std::size_t i = 0; i + kKeptDirectories <= kept.size(); ++i) {
    log_warning("dropping the diverged WAL in {}: {} newer ones are kept", kept[i].string(),
                kKeptDirectories);
    fs::remove_all(kept[i], error);
  }
}

}  // namespace

DataDirectory look_at(const std::string& data_dir) {
  std::error_code error;
  fs::directory_iterator entry(data_dir, error);
  if (error == std::errc::no_such_file_or_directory) return DataDirectory::empty;
  if (error) return DataDirectory::unknown;  // unreadable is not broken: nothing may be wiped
  bool any = false;
  for (const fs::directory_iterator end; !any && entry != end; entry.increment(error)) {
    any = is_ours(entry->path());
  }
  if (error) return DataDirectory::unknown;
  if (!any) return DataDirectory::empty;
  bool whole = true;
  for (const char* name : {"global/pg_control", "PG_VERSION"}) {
    const auto found = fs::status(data_dir + "/" + name, error);
    if (error && found.type() != fs::file_type::not_found) return DataDirectory::unknown;
    whole = whole && fs::is_regular_file(found);
  }
  return whole ? DataDirectory::valid : DataDirectory::broken;
}

DataDirectory Server::look_at_data_directory() const {
  return look_at(impl_->settings.data_dir);
}

bool Server::Impl::server_process_alive() const {
  const auto pid = parse_decimal(first_line(in_data("postmaster.pid")));
  if (!pid || *pid == 0 || *pid > INT32_MAX) return false;
  if (::kill(static_cast<pid_t>(*pid), 0) != 0 && errno == ESRCH) return false;
  // Numbers are used again, in containers soon: a postmaster works inside its data directory.
  std::error_code error;
  const auto place = fs::read_symlink(fmt::format("/proc/{}/cwd", *pid), error);
  if (error) return true;
  return fs::equivalent(place, settings.data_dir, error);
}

namespace {

std::string name_of_kept(const ControlFile& control) {
  auto name = fmt::format("{}-{}", control.timeline, control.newest_lsn().text());
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

// Into state_dir/diverged; `move` when the data directory is given up, else copies.
Result<void> keep_wal(const ServerSettings& settings, const std::string& why, bool move,
                      Lsn parted_at, const Flag& stop) {
  const auto output = read_control_data(settings.bin_dir, settings.data_dir);
  const auto found = output ? parse_control_data(*output) : tl::unexpected(output.error());
  if (!found && found.error().kind != ErrorKind::corrupt) return tl::unexpected(found.error());
  std::error_code error;
  const auto all = wal_files(fs::path(settings.data_dir) / "pg_wal", parted_at);
  if (!found && all.empty()) return {};
  const auto name = found ? name_of_kept(*found) : std::string("unreadable");
  const fs::path parent = fs::path(settings.state_dir) / "diverged" / settings.name;
  if (!fs::exists(parent / name, error)) drop_oldest(parent);
  fs::create_directories(parent / name, error);
  if (error) {
    return fail(ErrorKind::retry,
                fmt::format("cannot create {}: {}", (parent / name).string(), error.message()),
                "the data directory is not touched before its WAL is safe");
  }
  const auto limit = move ? kKeptBytes : kCopiedBytes;
  std::uintmax_t bytes = 0;
  std::size_t files = 0, dropped = 0;
  for (const auto& file : all) {
    if (bytes + file.bytes > limit) {
      ++dropped;
      continue;
    }
    // A link would not do for a rewind: it overwrites segments in place.
    const auto kept = parent / name / file.path.filename();
    error = keep_file(file.path, kept, move);
    if (!error && *stop) error = std::make_error_code(std::errc::operation_canceled);
    if (error) {
      return fail(ErrorKind::retry,
                  fmt::format("cannot keep {}: {}", file.path.string(), error.message()));
    }
    bytes += file.bytes;
    ++files;
  }
  if ((error = sync(parent / name))) {
    return fail(ErrorKind::retry,
                fmt::format("cannot fsync {}: {}", (parent / name).string(), error.message()));
  }
  log_info("kept {} WAL files ({} bytes) in {} before {}", files, bytes, (parent / name).string(),
           why);
  if (dropped > 0) {
    log_warning("{} older WAL files were not kept: over the limit of {} bytes", dropped, limit);
  }
  return {};
}

Result<void> clear(const ServerSettings& settings, const std::string& why, bool unfinished,
                   const Flag& stop) {
  const fs::path data = settings.data_dir;
  std::error_code looked;
  // It is written last, and removed first.
  const bool began = fs::exists(data / "global/pg_control", looked) || looked;
  if (began || !unfinished) {
    if (auto kept = keep_wal(settings, why, true, Lsn{}, stop); !kept) return kept;
  }
  log_warning("removing the content of {}: {}", settings.data_dir, why);
  std::error_code error;
  // First of all what makes it look like a database: a crash from here on leaves it broken.
  fs::remove(data / "global/pg_control", error);
  if (!error) remove_behind_links(data, stop, error);
  if (!error) remove_content(data, stop, error);
  if (error) {
    return fail(ErrorKind::retry,
                fmt::format("cannot clear {}: {}", settings.data_dir, error.message()));
  }
  return {};
}

}  // namespace

awaitable<Result<void>> Server::Impl::work_on_files(
    std::function<Result<void>(const std::shared_ptr<std::atomic<bool>>&)> work) {
  if (*files_busy) co_return fail(ErrorKind::retry, "earlier work on the data directory goes on");
  *files_busy = true;
  StopsWhenLeft left{stop_files = std::make_shared<std::atomic<bool>>(false)};
  std::function<Result<void>()> whole = [work, stop = left.stop, busy = files_busy] {
    auto done = work(stop);
    *busy = false;
    return done;
  };
  auto done = co_await run_aside<Result<void>>(pool, loop, whole, after(kWorkLimit));
  if (!done)
    co_return fail(ErrorKind::retry, "the work on the data directory was not done in time");
  co_return *done;
}

awaitable<Result<void>> Server::keep_diverged_wal(std::string why, std::optional<Lsn> parted_at) {
  std::function<Result<void>(const Flag&)> work = [settings = settings(), why,
                                                   parted_at](const Flag& stop) {
    return keep_wal(settings, why, false, parted_at.value_or(Lsn{}), stop);
  };
  auto kept = co_await impl_->work_on_files(work);
  co_return kept;
}

awaitable<Result<void>> Server::clear_data_directory(std::string why, bool unfinished) {
  if (impl_->server_process_alive()) {
    co_return fail(ErrorKind::refused, fmt::format("a server runs in {}", settings().data_dir),
                   "stop it before the directory is cleared");
  }
  const auto state = look_at_data_directory();
  if (state == DataDirectory::empty) co_return Result<void>();
  if (state == DataDirectory::unknown) {
    co_return fail(ErrorKind::retry, fmt::format("{} cannot be read", settings().data_dir),
                   "nothing is removed from it before it can be");
  }
  impl_->watch.close();
  std::function<Result<void>(const Flag&)> work = [settings = settings(), why,
                                                   unfinished](const Flag& stop) {
    return clear(settings, why, unfinished, stop);
  };
  auto cleared = co_await impl_->work_on_files(work);
  if (cleared) impl_->control.reset();
  co_return cleared;
}

}  // namespace pgsteady::pg
