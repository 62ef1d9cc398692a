// Where archived objects live. Keys are relative to the archive's own prefix: "wal_005/0000...lz4".
//
// Every call blocks its thread, for a bounded time; an ObjectStore may be used by several threads
// at once, a Reader or Writer by one. Errors: retry (network, time-outs, a full disk: the same call
// may succeed later), refused (wrong credentials, bucket or directory, no permission), corrupt.
// not_found means that the store answered and has no such object, never that it could not be asked.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace pgsteady::store {

struct ObjectInfo {
  std::string key;
  std::uint64_t size_bytes = 0;
  WallTime modified{};
};

enum class Put {
  replace,    // whatever is there
  if_absent,  // never over another object, also when two writers are at it
};
enum class Stored {
  created,
  existed,  // Put::if_absent only: there was an object, and it is untouched
};

// An object in the making. Nobody sees it before finish(), and without finish() nothing of it
// stays.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual Result<void> write(std::string_view bytes) = 0;
  // The object is durable when this returns. Once, and nothing after it.
  virtual Result<Stored> finish() = 0;
};

class Reader {
 public:
  virtual ~Reader() = default;
  // As many bytes as there are at once, 0 at the end of the object. An object that is cut short is
  // an error, no end.
  virtual Result<std::size_t> read(std::span<char> into) = 0;
};

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t count = UINT64_MAX;  // what goes beyond the object's end is left out
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  virtual Result<std::unique_ptr<Writer>> create(const std::string& key, Put how) = 0;
  virtual Result<std::unique_ptr<Reader>> open(const std::string& key, Range range = {}) = 0;
  virtual Result<ObjectInfo> head(const std::string& key) = 0;
  // All objects whose key starts with the prefix, in no particular order, until `each` says false.
  virtual Result<void> list(const std::string& prefix,
                            const std::function<bool(const ObjectInfo&)>& each) = 0;
  // Those of base + suffix that are there: one question where list() would read a whole folder.
  virtual Result<std::vector<ObjectInfo>> find(const std::string& base,
                                               const std::vector<std::string>& suffixes) = 0;
  virtual Result<void> remove(const std::string& key) = 0;  // gone already is no error

  virtual std::string name() const = 0;  // "/backup/demo", "s3://bucket/prefix", for messages
};

// Small objects in one piece.
Result<Stored> put_text(ObjectStore& store, const std::string& key, std::string_view text, Put how);
// refused when the object is larger than the limit.
Result<std::string> get_text(ObjectStore& store, const std::string& key, std::size_t limit_bytes);

}  // namespace pgsteady::store
