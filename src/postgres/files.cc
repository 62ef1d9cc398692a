#include "postgres/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace pgsteady::pg {
namespace {

constexpr std::size_t kFileLimitBytes = 16u << 20;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

tl::unexpected<Error> system_error(const char* what, const std::string& path) {
  const int number = errno;
  const auto kind = number == ENOENT ? ErrorKind::not_found : ErrorKind::retry;
  return fail(kind, fmt::format("cannot {} {}: {}", what, path, std::strerror(number)));
}

bool write_all(int fd, const std::string& content) {
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

Result<void> sync_directory(const std::string& path) {
  Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return system_error("fsync", path);
  return {};
}

std::string parent_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return system_error("open", path);
  std::string content;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", path);
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > kFileLimitBytes) {
      return fail(ErrorKind::refused, fmt::format("{} is larger than 16 MiB", path));
    }
  }
}

Result<void> write_file(const std::string& path, const std::string& content, mode_t mode) {
  const std::string beside = path + ".pgsteady-new";
  ::unlink(beside.c_str());  // one left by a crash might have another mode
  Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (file.get() < 0) return system_error("create", beside);
  const bool written = ::fchmod(file.get(), mode) == 0 && write_all(file.get(), content) &&
                       ::fsync(file.get()) == 0 && file.close();
  if (!written || ::rename(beside.c_str(), path.c_str()) != 0) {
    auto error = system_error("write", path);
    ::unlink(beside.c_str());
    return error;
  }
  return sync_directory(parent_of(path));
}

Result<void> create_file(const std::string& path, mode_t mode) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, mode));
  if (file.get() < 0) return system_error("create", path);
  return {};
}

Result<bool> write_if_changed(const std::string& path, const std::string& content, mode_t mode) {
  const auto old = read_file(path);
  if (old && *old == content) return false;
  if (auto written = write_file(path, content, mode); !written) {
    return tl::unexpected(written.error());
  }
  return true;
}

Result<bool> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return false;
    return system_error("remove", path);
  }
  if (auto synced = sync_directory(parent_of(path)); !synced) {
    return tl::unexpected(synced.error());
  }
  return true;
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return {};
  std::filesystem::create_directories(parent_of(path), error);
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return system_error("create", path);
  return {};
}

std::string first_line(const std::string& path) {
  auto content = read_file(path);
  return content ? content->substr(0, content->find('\n')) : std::string();
}

}  // namespace pgsteady::pg
