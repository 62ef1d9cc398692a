// What is only read: brotli, lzma (also xz) and gzip.
#include <brotli/decode.h>
#include <lzma.h>
#include <zlib.h>

#include "archive/codec_streams.h"

namespace pgsteady::archive {
namespace {

class BrotliReader : public Stream {
 public:
  BrotliReader() : state_(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {}
  ~BrotliReader() override { BrotliDecoderDestroyInstance(state_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    auto left = bytes.size();
    const auto* next = reinterpret_cast<const std::uint8_t*>(bytes.data());
    for (;;) {
      std::size_t room = buffer_.size();
      auto* out = reinterpret_cast<std::uint8_t*>(buffer_.data());
      const auto result = BrotliDecoderDecompressStream(state_, &left, &next, &room, &out, nullptr);
      if (result == BROTLI_DECODER_RESULT_ERROR) return corrupt_stream("brotli", "broken data");
      if (room < buffer_.size()) {
        if (auto taken = sink({buffer_.data(), buffer_.size() - room}); !taken) return taken;
      }
      ended_ = result == BROTLI_DECODER_RESULT_SUCCESS;
      if (ended_ && left > 0) return corrupt_stream("brotli", "there is data after its end");
      if (result != BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) return {};
    }
  }
  Result<void> finish(const Sink&) override {
    if (!ended_) return corrupt_stream("brotli", "the data is cut short");
    return {};
  }

 private:
  BrotliDecoderState* state_;
  std::string buffer_ = std::string(kPieceBytes, '\0');
  bool ended_ = false;
};

class LzmaReader : public Stream {
 public:
  LzmaReader() : ready_(lzma_auto_decoder(&stream_, kMemoryLimit, 0) == LZMA_OK) {}
  ~LzmaReader() override { lzma_end(&stream_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
    stream_.avail_in = bytes.size();
    return run(LZMA_RUN, sink);
  }
  Result<void> finish(const Sink& sink) override {
    if (auto done = run(LZMA_FINISH, sink); !done) return done;
    if (!ended_) return corrupt_stream("lzma", "the data is cut short");
    return {};
  }

 private:
  static constexpr std::uint64_t kMemoryLimit = 256 << 20;

  Result<void> run(lzma_action action, const Sink& sink) {
    if (!ready_) return fail(ErrorKind::retry, "no memory to read lzma");
    for (;;) {
      if (ended_ && stream_.avail_in > 0) return corrupt_stream("lzma", "data after its end");
      if (ended_) return {};
      stream_.next_out = reinterpret_cast<std::uint8_t*>(buffer_.data());
      stream_.avail_out = buffer_.size();
      const auto result = lzma_code(&stream_, action);
      const auto size = buffer_.size() - stream_.avail_out;
      if (size > 0) {
        if (auto taken = sink({buffer_.data(), size}); !taken) return taken;
      }
      ended_ = result == LZMA_STREAM_END;
      if (!ended_ && result != LZMA_OK && result != LZMA_BUF_ERROR) {
        return corrupt_stream("lzma", "broken data");
      }
      if (result == LZMA_BUF_ERROR || (stream_.avail_out > 0 && stream_.avail_in == 0)) {
        if (action == LZMA_RUN || result == LZMA_BUF_ERROR) return {};
      }
    }
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  const bool ready_;
  std::string buffer_ = std::string(kPieceBytes, '\0');
  bool ended_ = false;
};

// Several members one after the other are one stream.
class GzipReader : public Stream {
 public:
  GzipReader() { inflateInit2(&stream_, 15 + 16); }
  ~GzipReader() override { inflateEnd(&stream_); }

  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    bool more = false;
    while (stream_.avail_in > 0 || more) {
      if (ended_) inflateReset(&stream_);
      stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
      stream_.avail_out = static_cast<uInt>(buffer_.size());
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        return corrupt_stream("gzip", stream_.msg ? stream_.msg : "broken data");
      }
      const auto size = buffer_.size() - stream_.avail_out;
      if (size > 0) {
        if (auto taken = sink({buffer_.data(), size}); !taken) return taken;
      }
      ended_ = result == Z_STREAM_END;
      more = !ended_ && stream_.avail_out == 0;
    }
    return {};
  }
  Result<void> finish(const Sink&) override {
    if (!ended_) return corrupt_stream("gzip", "the data is cut short");
    return {};
  }

 private:
  z_stream stream_{};
  std::string buffer_ = std::string(kPieceBytes, '\0');
  bool ended_ = false;
};

}  // namespace

StreamResult make_brotli_decompressor() {
  return std::make_unique<BrotliReader>();
}
StreamResult make_lzma_decompressor() {
  return std::make_unique<LzmaReader>();
}
StreamResult make_gzip_decompressor() {
  return std::make_unique<GzipReader>();
}

}  // namespace pgsteady::archive
