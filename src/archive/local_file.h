// Files of the server, read and written in pieces.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pgsteady::archive {

class LocalReader {
 public:
  // not_found when there is no such file.
  static Result<LocalReader> open(const std::string& path);
  LocalReader(LocalReader&& other) noexcept;
  LocalReader& operator=(LocalReader&&) = delete;
  ~LocalReader();

  std::uint64_t size_bytes() const { return size_; }  // when it was opened
  Result<std::size_t> read(std::span<char> into);     // 0 at the end
  Result<std::size_t> read_at(std::uint64_t offset, std::span<char> into);
  Result<void> rewind();

 private:
  LocalReader(int fd, std::string path, std::uint64_t size)
      : fd_(fd), path_(std::move(path)), size_(size) {}
  int fd_;
  std::string path_;
  std::uint64_t size_;
};

// A file that appears under its name when it is whole and on disk, or not at all.
class LocalWriter {
 public:
  static Result<LocalWriter> create(const std::string& path, mode_t mode);
  LocalWriter(LocalWriter&& other) noexcept;
  LocalWriter& operator=(LocalWriter&&) = delete;
  ~LocalWriter();

  Result<void> write(std::string_view bytes);
  Result<void> finish();

 private:
  LocalWriter(int fd, std::string path, std::string beside)
      : fd_(fd), path_(std::move(path)), beside_(std::move(beside)) {}
  int fd_;
  std::string path_, beside_;
};

}  // namespace pgsteady::archive
