#include "archive/local_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace pgsteady::archive {
namespace {

tl::unexpected<Error> system_error(const char* what, const std::string& path) {
  const int number = errno;
  const auto kind = number == ENOENT ? ErrorKind::not_found : ErrorKind::retry;
  return fail(kind, fmt::format("cannot {} {}: {}", what, path, std::strerror(number)),
              number == ENOSPC ? "make room on the server's disk" : "");
}

}  // namespace

LocalReader::LocalReader(LocalReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), size_(other.size_) {}

LocalReader::~LocalReader() {
  if (fd_ >= 0) ::close(fd_);
}

Result<LocalReader> LocalReader::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_error("open", path);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    ::close(fd);
    return system_error("look at", path);
  }
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  return LocalReader(fd, path, static_cast<std::uint64_t>(info.st_size));
}

Result<std::size_t> LocalReader::read(std::span<char> into) {
  ssize_t n = 0;
  do {
    n = ::read(fd_, into.data(), into.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) return system_error("read", path_);
  return static_cast<std::size_t>(n);
}

Result<std::size_t> LocalReader::read_at(std::uint64_t offset, std::span<char> into) {
  const ssize_t n = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(offset));
  if (n < 0) return system_error("read", path_);
  return static_cast<std::size_t>(n);
}

Result<void> LocalReader::rewind() {
  if (::lseek(fd_, 0, SEEK_SET) != 0) return system_error("read", path_);
  return {};
}

LocalWriter::LocalWriter(LocalWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      beside_(std::move(other.beside_)) {}

LocalWriter::~LocalWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(beside_.c_str());
}

Result<LocalWriter> LocalWriter::create(const std::string& path, mode_t mode) {
  const auto beside = path + ".pgsteady-new";
  ::unlink(beside.c_str());  // of a process that was killed
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return system_error("create", beside);
  return LocalWriter(fd, path, beside);
}

Result<void> LocalWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> LocalWriter::finish() {
  if (::fsync(fd_) != 0) return system_error("fsync", path_);
  if (::rename(beside_.c_str(), path_.c_str()) != 0) return system_error("create", path_);
  ::close(std::exchange(fd_, -1));
  const auto parent = std::filesystem::path(path_).parent_path();
  const auto folder = parent.empty() ? std::filesystem::path(".") : parent;
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  auto error = system_error("fsync", folder.string());
  if (directory >= 0) ::close(directory);
  if (!synced) return error;
  return {};
}

}  // namespace pgsteady::archive
