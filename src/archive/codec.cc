#include "archive/codec.h"

#include "archive/codec_streams.h"

namespace pgsteady::archive {
namespace {

class Plain : public Stream {
 public:
  Result<void> feed(std::string_view bytes, const Sink& sink) override {
    while (!bytes.empty()) {
      const auto piece = bytes.substr(0, kPieceBytes);
      if (auto taken = sink(piece); !taken) return taken;
      bytes.remove_prefix(piece.size());
    }
    return {};
  }
  Result<void> finish(const Sink&) override { return {}; }
};

}  // namespace

Result<std::unique_ptr<Stream>> make_compressor(Method method) {
  if (method == Method::none) return std::make_unique<Plain>();
  if (method == Method::lz4) return make_lz4_compressor();
  if (method == Method::zstd) return make_zstd_compressor();
  return fail(ErrorKind::refused, "this compression method can only be read",
              "set WALG_COMPRESSION_METHOD to lz4, zstd or none");
}

Result<std::unique_ptr<Stream>> make_decompressor(Method method) {
  switch (method) {
    case Method::none:
      return std::make_unique<Plain>();
    case Method::lz4:
      return make_lz4_decompressor();
    case Method::zstd:
      return make_zstd_decompressor();
    case Method::brotli:
      return make_brotli_decompressor();
    case Method::lzma:
      return make_lzma_decompressor();
    case Method::gzip:
      return make_gzip_decompressor();
    case Method::lzo:
      return make_lzop_decompressor();
  }
  return fail(ErrorKind::refused, "no such compression method");
}

std::string extension(Method method) {
  switch (method) {
    case Method::none:
      return "";
    case Method::lz4:
      return ".lz4";
    case Method::zstd:
      return ".zst";
    case Method::brotli:
      return ".br";
    case Method::lzma:
      return ".lzma";
    case Method::gzip:
      return ".gz";
    case Method::lzo:
      return ".lzo";
  }
  return "";
}

const std::vector<std::string>& all_extensions() {
  static const std::vector<std::string> all = {".lz4", ".zst", ".lzo", ".br", ".lzma", ".gz", ""};
  return all;
}

Method method_of_extension(std::string_view text) {
  for (auto method :
       {Method::lz4, Method::zstd, Method::brotli, Method::lzma, Method::gzip, Method::lzo}) {
    if (extension(method) == text) return method;
  }
  return Method::none;
}

std::optional<Method> method_by_name(std::string_view name) {
  if (name == "lz4") return Method::lz4;
  if (name == "zstd") return Method::zstd;
  if (name == "none") return Method::none;
  return std::nullopt;
}

}  // namespace pgsteady::archive
