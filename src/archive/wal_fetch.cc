#include "archive/wal_fetch.h"

#include <fmt/format.h>
#include <unistd.h>

#include "archive/local_file.h"
#include "archive/object.h"
#include "archive/system_id.h"
#include "archive/wal_header.h"

namespace pgsteady::archive {
namespace {

constexpr int kNotInArchive = 1, kFailed = 2, kStopRecovery = 126;

// Writes, and checks what can be checked on the way.
class Receiver {
 public:
  Receiver(const WalName& name, LocalWriter& file) : name_(name), file_(file) {}

  Result<void> take(std::string_view bytes) {
    if (begin_.size() < kWalHeaderBytes) {
      begin_ += bytes.substr(0, kWalHeaderBytes - begin_.size());
    }
    total_ += bytes.size();
    if (total_ > kLargestSegment) {
      return fail(ErrorKind::corrupt, fmt::format("{} is larger than 1 GiB", name_.text));
    }
    return file_.write(bytes);
  }

  Result<void> check(std::optional<SystemId> system) const {
    if (total_ == 0) return fail(ErrorKind::corrupt, fmt::format("{} is empty", name_.text));
    if (name_.kind == WalKind::history || name_.kind == WalKind::backup) return {};
    auto header = check_segment(name_, begin_, total_, system);
    if (!header) return tl::unexpected(header.error());
    return {};
  }

 private:
  const WalName& name_;
  LocalWriter& file_;
  std::string begin_;
  std::uint64_t total_ = 0;
};

// "No such object" from an archive without any WAL at all is no answer: what is mounted or named
// there is not the archive that a recovery needs.
Result<void> refuse_empty_archive(store::ObjectStore& store) {
  bool any = false;
  auto listed = store.list("wal_005/", [&](const store::ObjectInfo&) { return !(any = true); });
  if (!listed) return listed;
  if (any) return {};
  return fail(ErrorKind::refused, fmt::format("the archive {} has no WAL at all", store.name()),
              "is it mounted, and are prefix and bucket right? Nothing was recovered from it");
}

}  // namespace

Asker asker_of(const std::string& data_dir) {
  if (data_dir.empty()) return Asker::other;
  if (::access((data_dir + "/standby.signal").c_str(), F_OK) == 0) return Asker::standby;
  if (::access((data_dir + "/recovery.signal").c_str(), F_OK) == 0) return Asker::recovery;
  return Asker::other;
}

int fetch_exit_code(const Result<void>& fetched, Asker asker) {
  if (fetched) return 0;
  if (fetched.error().kind == ErrorKind::not_found || asker == Asker::standby) return kNotInArchive;
  return asker == Asker::recovery ? kStopRecovery : kFailed;
}

Result<void> wal_fetch(store::ObjectStore& store, const std::string& name, const std::string& path,
                       const std::string& data_dir) {
  const auto wal = parse_wal_name(name);
  if (!wal) {
    return fail(ErrorKind::refused, fmt::format("\"{}\" is no name of archived WAL", name),
                "restore_command = 'pgsteady wal-fetch %f %p'");
  }
  auto object = find_object(store, wal_key(*wal));
  if (!object) {
    const bool empty_is_wrong =
        object.error().kind == ErrorKind::not_found && asker_of(data_dir) == Asker::recovery;
    auto good = empty_is_wrong ? refuse_empty_archive(store) : Result<void>();
    return tl::unexpected(good ? object.error() : good.error());
  }
  auto file = LocalWriter::create(path, 0600);
  if (!file) {  // never to be taken for a missing object
    auto error = file.error();
    error.kind = ErrorKind::retry;
    return tl::unexpected(error);
  }
  Receiver receiver(*wal, *file);
  auto read =
      read_object(store, object->key, [&](std::string_view bytes) { return receiver.take(bytes); });
  if (!read) return read;
  if (auto good = receiver.check(local_system_id(data_dir)); !good) return good;
  return file->finish();
}

}  // namespace pgsteady::archive
