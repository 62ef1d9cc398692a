#include "store/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace pgsteady::store {
namespace {

namespace fs = std::filesystem;

constexpr char kTemporary[] = ".pgsteady-tmp";
constexpr std::chrono::hours kStaleAfter{24};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::string hint_of(int number) {
  if (number == ENOSPC || number == EDQUOT) {
    return "the archive is full: make room there; the server keeps its WAL until then";
  }
  if (number == EROFS)
    return "the archive is mounted read-only: mount it so that it can be written";
  if (number == EACCES || number == EPERM) {
    return "the archive must be writable for the user that PostgreSQL runs as";
  }
  return "";
}

tl::unexpected<Error> system_error(const char* what, const std::string& path, int number = errno) {
  auto kind = ErrorKind::retry;
  if (number == ENOENT) kind = ErrorKind::not_found;
  if (number == EACCES || number == EPERM || number == EROFS) kind = ErrorKind::refused;
  return fail(kind, fmt::format("cannot {} {}: {}", what, path, std::strerror(number)),
              hint_of(number));
}

Result<void> check_root(const std::string& root) {
  struct stat info {};
  if (::stat(root.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
  const int number = errno;
  const bool missing = number == ENOENT || number == ENOTDIR || number == 0;
  return fail(missing ? ErrorKind::refused : ErrorKind::retry,
              fmt::format("the archive {} is no directory that can be read", root),
              "mount it, or create it with mkdir when the archive begins here");
}

// Keys come from listings and names that were checked; this is the last wall before the disk.
Result<void> check_key(const std::string& key) {
  bool good = !key.empty() && key.front() != '/' && key.back() != '/';
  for (const auto& part : fs::path(key)) good = good && part != ".." && part != ".";
  if (good && !key.starts_with(kTemporary)) return {};
  return fail(ErrorKind::refused, fmt::format("\"{}\" is no key of an object", key));
}

WallTime modified_at(const struct stat& info) {
  const auto since_epoch =
      std::chrono::seconds(info.st_mtim.tv_sec) + std::chrono::nanoseconds(info.st_mtim.tv_nsec);
  return WallTime(std::chrono::duration_cast<WallTime::duration>(since_epoch));
}

bool sync_path(const std::string& path) {
  Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return directory.get() >= 0 && ::fsync(directory.get()) == 0;
}

class FileWriter : public Writer {
 public:
  FileWriter(Descriptor file, std::string temporary, std::string path, Put how, const Fault& fault)
      : file_(std::move(file)),
        temporary_(std::move(temporary)),
        path_(std::move(path)),
        how_(how),
        fault_(fault) {}
  ~FileWriter() override { ::unlink(temporary_.c_str()); }

  Result<void> write(std::string_view bytes) override {
    if (fails(Step::write)) return system_error("write", path_);
    while (!bytes.empty()) {
      const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  Result<Stored> finish() override {
    if (fails(Step::sync) || ::fsync(file_.get()) != 0 || !file_.close()) {
      return system_error("write", path_);
    }
    if (fails(Step::publish)) return system_error("create", path_);
    auto stored = Stored::created;
    if (how_ == Put::replace) {
      if (::rename(temporary_.c_str(), path_.c_str()) != 0) return system_error("create", path_);
    } else if (::link(temporary_.c_str(), path_.c_str()) != 0) {
      if (errno != EEXIST) return system_error("create", path_);
      stored = Stored::existed;
    }
    // Also for an object that was there: its writer may have died before this.
    const auto folder = fs::path(path_).parent_path().string();
    if (fails(Step::sync_folder) || !sync_path(folder)) return system_error("fsync", folder);
    return stored;
  }

 private:
  bool fails(Step step) const {
    const int number = fault_ ? fault_(step) : 0;
    errno = number;
    return number != 0;
  }

  Descriptor file_;
  const std::string temporary_, path_;
  const Put how_;
  const Fault& fault_;  // the store's, which outlives its writers
};

class FileReader : public Reader {
 public:
  FileReader(Descriptor file, std::string path, Range range)
      : file_(std::move(file)), path_(std::move(path)), range_(range) {}

  Result<std::size_t> read(std::span<char> into) override {
    const auto wanted = std::min<std::uint64_t>(into.size(), range_.count);
    ssize_t n = 0;
    do {
      n = ::pread(file_.get(), into.data(), wanted, static_cast<off_t>(range_.offset));
    } while (n < 0 && errno == EINTR);
    if (n < 0) return system_error("read", path_);
    range_.offset += static_cast<std::uint64_t>(n);
    range_.count -= static_cast<std::uint64_t>(n);
    return static_cast<std::size_t>(n);
  }

 private:
  Descriptor file_;
  const std::string path_;
  Range range_;
};

class Directory : public ObjectStore {
 public:
  Directory(std::string root, Fault fault) : root_(std::move(root)), fault_(std::move(fault)) {}

  Result<std::unique_ptr<Writer>> create(const std::string& key, Put how) override;
  Result<std::unique_ptr<Reader>> open(const std::string& key, Range range) override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<void> list(const std::string& prefix,
                    const std::function<bool(const ObjectInfo&)>& each) override;
  Result<std::vector<ObjectInfo>> find(const std::string& base,
                                       const std::vector<std::string>& suffixes) override;
  Result<void> remove(const std::string& key) override;
  std::string name() const override { return root_; }

 private:
  std::string path_of(const std::string& key) const { return root_ + "/" + key; }
  Result<void> make_folder(const std::string& path) const;
  void remove_stale(const std::string& folder) const;
  // not_found only when the archive itself is there.
  tl::unexpected<Error> missing(const std::string& path) const;

  const std::string root_;
  const Fault fault_;
  std::atomic<unsigned> count_{0};
};

// Each folder that is made is fsynced into its parent.
Result<void> Directory::make_folder(const std::string& path) const {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return {};
  const auto parent = fs::path(path).parent_path().string();
  if (parent.size() > root_.size()) {
    if (auto made = make_folder(parent); !made) return made;
  }
  const int injected = fault_ ? fault_(Step::make_folder) : 0;
  if (injected != 0) return system_error("create", path, injected);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("create", path);
  if (!sync_path(parent)) return system_error("fsync", parent);
  return {};
}

void Directory::remove_stale(const std::string& folder) const {
  std::error_code error;
  const auto old = fs::file_time_type::clock::now() - kStaleAfter;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code none;
    if (fs::last_write_time(it->path(), none) < old && !none) fs::remove(it->path(), none);
  }
}

tl::unexpected<Error> Directory::missing(const std::string& path) const {
  if (auto there = check_root(root_); !there) return tl::unexpected(there.error());
  return fail(ErrorKind::not_found, fmt::format("there is no {}", path));
}

Result<std::unique_ptr<Writer>> Directory::create(const std::string& key, Put how) {
  if (auto good = check_key(key); !good) return tl::unexpected(good.error());
  if (auto there = check_root(root_); !there) return tl::unexpected(there.error());
  const auto path = path_of(key);
  const auto folder = fs::path(path).parent_path().string();
  if (auto made = make_folder(folder); !made) return tl::unexpected(made.error());
  const auto aside = path_of(kTemporary);
  if (auto made = make_folder(aside); !made) return tl::unexpected(made.error());
  if (count_ == 0) remove_stale(aside);
  // The host counts: several machines may have the directory mounted.
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const auto temporary =
      fmt::format("{}/{}-{}-{}-{}", aside, host, ::getpid(), boottime_now().count(), count_++);
  const int injected = fault_ ? fault_(Step::create) : 0;
  if (injected != 0) return system_error("create", path, injected);
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.get() < 0) return system_error("create", temporary);
  return std::make_unique<FileWriter>(std::move(file), temporary, path, how, fault_);
}

Result<std::unique_ptr<Reader>> Directory::open(const std::string& key, Range range) {
  if (auto good = check_key(key); !good) return tl::unexpected(good.error());
  const auto path = path_of(key);
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) return missing(path);
  if (file.get() < 0) return system_error("open", path);
  return std::make_unique<FileReader>(std::move(file), path, range);
}

Result<ObjectInfo> Directory::head(const std::string& key) {
  if (auto good = check_key(key); !good) return tl::unexpected(good.error());
  const auto path = path_of(key);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return missing(path);
    return system_error("look at", path);
  }
  if (!S_ISREG(info.st_mode)) return missing(path);
  return ObjectInfo{key, static_cast<std::uint64_t>(info.st_size), modified_at(info)};
}

// Walks the folder that the prefix lies in, not the whole archive.
Result<void> Directory::list(const std::string& prefix,
                             const std::function<bool(const ObjectInfo&)>& each) {
  if (auto there = check_root(root_); !there) return there;
  const auto slash = prefix.rfind('/');
  const auto folder = slash == std::string::npos ? root_ : path_of(prefix.substr(0, slash));
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error), end;
  if (error == std::errc::no_such_file_or_directory) return {};
  for (; !error && it != end; it.increment(error)) {
    const auto key = it->path().string().substr(root_.size() + 1);
    const bool within = key.starts_with(prefix) || prefix.starts_with(key + "/");
    if (!within || key == kTemporary) {
      it.disable_recursion_pending();
      continue;
    }
    if (!key.starts_with(prefix)) continue;
    struct stat info {};
    if (::stat(it->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (!each({key, static_cast<std::uint64_t>(info.st_size), modified_at(info)})) return {};
  }
  if (error) return system_error("list", folder, error.value());
  return {};
}

Result<std::vector<ObjectInfo>> Directory::find(const std::string& base,
                                                const std::vector<std::string>& suffixes) {
  std::vector<ObjectInfo> found;
  for (const auto& suffix : suffixes) {
    auto info = head(base + suffix);
    if (info) {
      found.push_back(std::move(*info));
    } else if (info.error().kind != ErrorKind::not_found) {
      return tl::unexpected(info.error());
    }
  }
  return found;
}

Result<void> Directory::remove(const std::string& key) {
  if (auto good = check_key(key); !good) return good;
  const auto path = path_of(key);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove", path);
  return {};
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> open_directory(std::string root, Fault fault) {
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  if (auto there = check_root(root); !there) return tl::unexpected(there.error());
  return std::make_unique<Directory>(std::move(root), std::move(fault));
}

}  // namespace pgsteady::store
