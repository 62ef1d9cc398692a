// One object of a backup: tar members in, compressed, hashed and stored.
#pragma once

#include <memory>
#include <string>

#include "archive/backup.h"
#include "archive/codec.h"
#include "archive/tar.h"
#include "store/object_store.h"

struct evp_md_ctx_st;

namespace pgsteady::archive {

// SHA-256 of a stream.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes);
  std::string hex();  // once, at the end

 private:
  evp_md_ctx_st* context_;
};

class PartWriter {
 public:
  static Result<std::unique_ptr<PartWriter>> create(store::ObjectStore& store,
                                                    const std::string& key, Method method);

  Result<void> begin(const TarMember& member);
  Result<void> data(std::string_view bytes);
  Result<void> end();                                                   // of the member
  Result<void> add(const TarMember& member, std::string_view content);  // all at once
  // The object is durable. Its checksum, as stored.
  Result<PartSum> finish();

  std::uint64_t uncompressed_bytes() const { return uncompressed_; }

 private:
  PartWriter(std::unique_ptr<store::Writer> writer, std::unique_ptr<Stream> stream);

  std::unique_ptr<store::Writer> writer_;
  std::unique_ptr<Stream> stream_;
  Sink sink_;
  Sha256 sum_;
  std::uint64_t stored_ = 0, uncompressed_ = 0;
  std::size_t padding_ = 0;
};

}  // namespace pgsteady::archive
