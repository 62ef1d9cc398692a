// Compression as streams, with bounded buffers whatever comes in.
//
// What is written carries the checksum of its content inside the frame (lz4: xxh32, zstd: xxh64),
// and reading checks it. Objects of WAL-G and WAL-E are read in every method that those have.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pgsteady::archive {

enum class Method { none, lz4, zstd, brotli, lzma, gzip, lzo };

// Takes what a stream puts out, in pieces of at most 256 KiB. Its error ends the stream.
using Sink = std::function<Result<void>(std::string_view)>;

// One direction of one stream. After an error it is of no use any more.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Result<void> feed(std::string_view bytes, const Sink& sink) = 0;
  // The end of the input. Reading: corrupt when the compressed data is not whole.
  virtual Result<void> finish(const Sink& sink) = 0;
};

// none, lz4 or zstd; the others are for reading: refused.
Result<std::unique_ptr<Stream>> make_compressor(Method method);
// lzo runs `lzop`, which must be installed.
Result<std::unique_ptr<Stream>> make_decompressor(Method method);

std::string extension(Method method);                    // ".lz4", "" for none
const std::vector<std::string>& all_extensions();        // the likeliest first, "" last
Method method_of_extension(std::string_view extension);  // one of all_extensions()
// WALG_COMPRESSION_METHOD: lz4, zstd, none. Nothing for others.
std::optional<Method> method_by_name(std::string_view name);

}  // namespace pgsteady::archive
