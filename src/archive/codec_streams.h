// The streams of each method, one file per library. Only codec.cc includes this.
#pragma once

#include "archive/codec.h"

namespace pgsteady::archive {

constexpr std::size_t kPieceBytes = 256 << 10;

using StreamResult = Result<std::unique_ptr<Stream>>;

StreamResult make_lz4_compressor();
StreamResult make_lz4_decompressor();
StreamResult make_zstd_compressor();
StreamResult make_zstd_decompressor();
StreamResult make_brotli_decompressor();
StreamResult make_lzma_decompressor();
StreamResult make_gzip_decompressor();
StreamResult make_lzop_decompressor();

inline tl::unexpected<Error> corrupt_stream(const char* method, std::string_view why) {
  return fail(ErrorKind::corrupt, std::string(method) + ": " + std::string(why));
}

}  // namespace pgsteady::archive
