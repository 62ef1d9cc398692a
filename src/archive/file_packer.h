// The files of a data directory into parts, by several threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "archive/data_files.h"
#include "archive/part_writer.h"

namespace pgsteady::archive {

struct PackOptions {
  std::string data_dir;
  std::string folder;  // the key of the backup, with a slash: "basebackups_005/base_.../"
  Method method = Method::lz4;
  int workers = 2;
  std::optional<Lsn> check_pages_from;  // the backup's start; nothing: the pages have no checksums
};

class FilePacker {
 public:
  FilePacker(store::ObjectStore& store, PackOptions options);
  ~FilePacker();  // gives up what is unfinished

  // Waits while the workers have enough to do. The error that a worker met, if any.
  Result<void> add(DataFile file);
  // Waits for all of it; the parts by their names below the folder.
  Result<std::map<std::string, PartSum>> finish();

  std::uint64_t uncompressed_bytes() const { return uncompressed_; }
  std::vector<std::string> bad_pages();

 private:
  class Worker;
  void work();
  std::optional<DataFile> next();
  void failed(const Error& error);

  store::ObjectStore& store_;
  const PackOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<DataFile> queue_;
  bool closed_ = false;
  std::optional<Error> error_;
  std::map<std::string, PartSum> parts_;
  std::vector<std::string> bad_pages_;
  std::atomic<std::uint64_t> uncompressed_{0};
  std::atomic<int> part_count_{0};
  std::vector<std::thread> threads_;
};

}  // namespace pgsteady::archive
