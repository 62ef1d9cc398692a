#include <lz4frame.h>

#include "archive/codec_streams.h"

namespace pgsteady::archive {
namespace {

class Lz4Compressor : public Stream {
 public:
  Lz4Compressor() : buffer_(LZ4F_compressBound(kPieceBytes, &kPreferences), '\0') {
    LZ4F_createCompressionContext(&context_, LZ4F_VERSION);
  }
  ~Lz4Compressor() override { LZ4F_freeCompressionContext(context_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    if (auto begun = begin(sink); !begun) return begun;
    while (!bytes.empty()) {
      const auto piece = bytes.substr(0, kPieceBytes);
      const auto size = LZ4F_compressUpdate(context_, buffer_.data(), buffer_.size(), piece.data(),
                                            piece.size(), nullptr);
      if (auto put = pass_on(size, sink); !put) return put;
      bytes.remove_prefix(piece.size());
    }
    return {};
  }

  Result<void> finish(const Sink& sink) override {
    if (auto begun = begin(sink); !begun) return begun;
    return pass_on(LZ4F_compressEnd(context_, buffer_.data(), buffer_.size(), nullptr), sink);
  }

 private:
  static constexpr LZ4F_preferences_t kPreferences = {
      {LZ4F_max256KB, LZ4F_blockLinked, LZ4F_contentChecksumEnabled, LZ4F_frame, 0, 0,
       LZ4F_noBlockChecksum},
      1,
      1,  // each piece is put out at once
      0,
      {0, 0, 0}};

  Result<void> begin(const Sink& sink) {
    if (begun_) return {};
    begun_ = true;
    return pass_on(LZ4F_compressBegin(context_, buffer_.data(), buffer_.size(), &kPreferences),
                   sink);
  }
  Result<void> pass_on(std::size_t size, const Sink& sink) {
    if (LZ4F_isError(size)) return corrupt_stream("lz4", LZ4F_getErrorName(size));
    return size == 0 ? Result<void>() : sink({buffer_.data(), size});
  }

  LZ4F_cctx* context_ = nullptr;
  std::string buffer_;
  bool begun_ = false;
};

class Lz4Decompressor : public Stream {
 public:
  Lz4Decompressor() : buffer_(kPieceBytes, '\0') {
    LZ4F_createDecompressionContext(&context_, LZ4F_VERSION);
  }
  ~Lz4Decompressor() override { LZ4F_freeDecompressionContext(context_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    bool more = true;  // output may be waiting though all input is taken
    while (!bytes.empty() || more) {
      std::size_t in = bytes.size(), out = buffer_.size();
      wanted_ = LZ4F_decompress(context_, buffer_.data(), &out, bytes.data(), &in, nullptr);
      if (LZ4F_isError(wanted_)) return corrupt_stream("lz4", LZ4F_getErrorName(wanted_));
      if (out > 0) {
        if (auto taken = sink({buffer_.data(), out}); !taken) return taken;
      }
      bytes.remove_prefix(in);
      more = out == buffer_.size() && wanted_ != 0;
    }
    return {};
  }

  Result<void> finish(const Sink&) override {
    if (wanted_ != 0) return corrupt_stream("lz4", "the data ends in the middle of a frame");
    return {};
  }

 private:
  LZ4F_dctx* context_ = nullptr;
  std::string buffer_;
  std::size_t wanted_ = 1;  // 0: a frame has just ended; an empty object is no frame
};

}  // namespace

StreamResult make_lz4_compressor() {
  return std::make_unique<Lz4Compressor>();
}
StreamResult make_lz4_decompressor() {
  return std::make_unique<Lz4Decompressor>();
}

}  // namespace pgsteady::archive
