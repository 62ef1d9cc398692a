#include "archive/extract.h"

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

tl::unexpected<Error> extract_error(const char* what, const std::string& path) {
  const int number = errno;
  return fail(ErrorKind::retry, fmt::format("cannot {} {}: {}", what, path, std::strerror(number)),
              number == ENOSPC ? "the backup needs more room than there is" : "");
}

}  // namespace

Extractor::~Extractor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> Extractor::begin(const TarMember& member) {
  if (member.name.empty()) return {};  // WAL-E's first member is the directory itself
  if (member.kind == TarMember::Kind::directory) return make_directory(member);
  if (member.kind == TarMember::Kind::file) return open_file(member);
  return {};
}

Result<void> Extractor::make_directory(const TarMember& member) const {
  const auto path = root_ + "/" + member.name;
  std::error_code error;
  std::filesystem::create_directories(path, error);  // a link to one is good, too
  const auto mode = static_cast<mode_t>((member.mode & 0777u) | 0700u);
  if (!error && ::chmod(path.c_str(), mode) != 0) error.assign(errno, std::generic_category());
  if (!error) return {};
  return fail(ErrorKind::retry, fmt::format("cannot create {}: {}", path, error.message()));
}

Result<void> Extractor::open_file(const TarMember& member) {
  path_ = root_ + "/" + (member.name == kControlFile ? kStagedControlFile : member.name);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  const auto mode = static_cast<mode_t>((member.mode & 0777u) | 0600u);
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd_ < 0) return extract_error("create", path_);
  return {};
}

Result<void> Extractor::data(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return extract_error("write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> Extractor::end() {
  if (fd_ < 0) return {};
  if (::close(std::exchange(fd_, -1)) != 0) return extract_error("write", path_);
  return {};
}

}  // namespace pgsteady::archive
