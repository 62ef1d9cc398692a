// Parts of a backup back into files below a directory.
#pragma once

#include <sys/types.h>

#include <string>

#include "archive/tar.h"

namespace pgsteady::archive {

// pg_control is written under this name until all else is there: without it no server starts.
constexpr char kControlFile[] = "global/pg_control";
constexpr char kStagedControlFile[] = "global/pg_control.pgsteady-restore";

// Directories and plain files. Links are passed over: those of tablespaces are made beforehand.
class Extractor : public TarSink {
 public:
  explicit Extractor(std::string root) : root_(std::move(root)) {}
  ~Extractor() override;
  Extractor(const Extractor&) = delete;
  Extractor& operator=(const Extractor&) = delete;

  Result<void> begin(const TarMember& member) override;
  Result<void> data(std::string_view bytes) override;
  Result<void> end() override;

 private:
  Result<void> make_directory(const TarMember& member) const;
  Result<void> open_file(const TarMember& member);

  const std::string root_;
  std::string path_;
  int fd_ = -1;
};

}  // namespace pgsteady::archive
