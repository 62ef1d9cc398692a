// File systems of a test's own: one that is soon full, one that hangs. For a node's data directory
// name a directory on it in ClusterOptions::data_dirs.
//
// They are mounted where only the calling thread and what it starts from then on can see them, so
// that nothing stays mounted when the test is killed. To be destroyed after those programs have
// ended, by the same thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "harness/process.h"

namespace pgsteady::testing {

// Takes every byte that is left on a file system, and gives it back.
void fill_disk(const std::filesystem::path& disk);
void clear_disk(const std::filesystem::path& disk);

// In memory, of a fixed size.
class SmallDisk {
 public:
  static std::string missing();  // why there can be none here, "" when there can

  // Mounted on `path`, which is made; belongs to the server user. Throws std::runtime_error.
  SmallDisk(std::filesystem::path path, int megabytes);
  ~SmallDisk();
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// ext4 in an image file beside `path`. While it is frozen every write and fsync waits, in a sleep
// that not even SIGKILL ends.
class FreezableDisk {
 public:
  static std::string missing();

  FreezableDisk(std::filesystem::path path, int megabytes);
  ~FreezableDisk();  // thaws
  FreezableDisk(const FreezableDisk&) = delete;
  FreezableDisk& operator=(const FreezableDisk&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void freeze();
  void thaw();
  bool frozen() const { return helper_ != 0; }

 private:
  std::filesystem::path path_;
  int hold_ = -1;  // a pipe: the helper thaws when its last writer is gone, be it by our death
  pid_t helper_ = 0;
};

}  // namespace pgsteady::testing
