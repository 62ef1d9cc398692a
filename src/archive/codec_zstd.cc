#include <zstd.h>

#include "archive/codec_streams.h"

namespace pgsteady::archive {
namespace {

constexpr int kLevel = 1;

class ZstdCompressor : public Stream {
 public:
  ZstdCompressor() : context_(ZSTD_createCCtx()), buffer_(kPieceBytes, '\0') {
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
  }
  ~ZstdCompressor() override { ZSTD_freeCCtx(context_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size) {
      if (auto done = step(in, ZSTD_e_continue, sink); !done) return tl::unexpected(done.error());
    }
    return {};
  }
  Result<void> finish(const Sink& sink) override {
    ZSTD_inBuffer in{nullptr, 0, 0};
    for (;;) {
      auto left = step(in, ZSTD_e_end, sink);
      if (!left) return tl::unexpected(left.error());
      if (*left == 0) return {};
    }
  }

 private:
  Result<std::size_t> step(ZSTD_inBuffer& in, ZSTD_EndDirective how, const Sink& sink) {
    ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
    const auto left = ZSTD_compressStream2(context_, &out, &in, how);
    if (ZSTD_isError(left)) return corrupt_stream("zstd", ZSTD_getErrorName(left));
    if (out.pos > 0) {
      if (auto taken = sink({buffer_.data(), out.pos}); !taken) {
        return tl::unexpected(taken.error());
      }
    }
    return left;
  }

  ZSTD_CCtx* context_;
  std::string buffer_;
};

class ZstdDecompressor : public Stream {
 public:
  ZstdDecompressor() : context_(ZSTD_createDCtx()), buffer_(kPieceBytes, '\0') {}
  ~ZstdDecompressor() override { ZSTD_freeDCtx(context_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    bool more = true;
    while (in.pos < in.size || more) {
      ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
      wanted_ = ZSTD_decompressStream(context_, &out, &in);
      if (ZSTD_isError(wanted_)) return corrupt_stream("zstd", ZSTD_getErrorName(wanted_));
      if (out.pos > 0) {
        if (auto taken = sink({buffer_.data(), out.pos}); !taken) return taken;
      }
      more = out.pos == out.size && wanted_ != 0;
    }
    return {};
  }
  Result<void> finish(const Sink&) override {
    if (wanted_ != 0) return corrupt_stream("zstd", "the data ends in the middle of a frame");
    return {};
  }

 private:
  ZSTD_DCtx* context_;
  std::string buffer_;
  std::size_t wanted_ = 1;
};

}  // namespace

StreamResult make_zstd_compressor() {
  return std::make_unique<ZstdCompressor>();
}
StreamResult make_zstd_decompressor() {
  return std::make_unique<ZstdDecompressor>();
}

}  // namespace pgsteady::archive
