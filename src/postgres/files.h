// Small files of the data and the state directory: read, and written so that a crash leaves either
// the old or the new content.
#pragma once

#include <sys/types.h>
#include <string>

#include "base/error.h"

namespace pgsteady::pg {

// Whole content, at most 16 MiB. not_found when there is no such file.
Result<std::string> read_file(const std::string& path);
// Writes beside the file, fsyncs, renames over it, fsyncs the directory.
Result<void> write_file(const std::string& path, const std::string& content, mode_t mode);
// An empty file, if there is none; nothing waits for the disk.
Result<void> create_file(const std::string& path, mode_t mode);
// Like write_file(), unless that is its content already. Gives whether it wrote.
Result<bool> write_if_changed(const std::string& path, const std::string& content, mode_t mode);
// Gives whether there was something to remove.
Result<bool> remove_file(const std::string& path);
// Like mkdir -p; the last directory gets the mode when it is made here.
Result<void> make_directory(const std::string& path, mode_t mode);
// Empty when there is no such file, or it can't be read.
std::string first_line(const std::string& path);

}  // namespace pgsteady::pg
