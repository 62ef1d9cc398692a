#include "archive/part_writer.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

namespace pgsteady::archive {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  EVP_DigestInit_ex(context_, EVP_sha256(), nullptr);
}
Sha256::~Sha256() {
  EVP_MD_CTX_free(context_);
}
void Sha256::add(std::string_view bytes) {
  EVP_DigestUpdate(context_, bytes.data(), bytes.size());
}
std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> sum{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context_, sum.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) fmt::format_to(std::back_inserter(text), "{:02x}", sum[i]);
  return text;
}

PartWriter::PartWriter(std::unique_ptr<store::Writer> writer, std::unique_ptr<Stream> stream)
    : writer_(std::move(writer)), stream_(std::move(stream)) {
  sink_ = [this](std::string_view bytes) {
    sum_.add(bytes);
    stored_ += bytes.size();
    return writer_->write(bytes);
  };
}

Result<std::unique_ptr<PartWriter>> PartWriter::create(store::ObjectStore& store,
                                                       const std::string& key, Method method) {
  auto writer = store.create(key, store::Put::replace);
  if (!writer) return tl::unexpected(writer.error());
  auto stream = make_compressor(method);
  if (!stream) return tl::unexpected(stream.error());
  return std::unique_ptr<PartWriter>(new PartWriter(std::move(*writer), std::move(*stream)));
}

Result<void> PartWriter::begin(const TarMember& member) {
  padding_ = tar_padding(member.size_bytes);
  return data(tar_header(member));
}

Result<void> PartWriter::data(std::string_view bytes) {
  uncompressed_ += bytes.size();
  return stream_->feed(bytes, sink_);
}

Result<void> PartWriter::end() {
  return padding_ == 0 ? Result<void>() : data(std::string(padding_, '\0'));
}

Result<void> PartWriter::add(const TarMember& member, std::string_view content) {
  if (auto begun = begin(member); !begun) return begun;
  if (auto put = data(content); !put) return put;
  return end();
}

Result<PartSum> PartWriter::finish() {
  if (auto put = data(tar_end()); !put) return tl::unexpected(put.error());
  if (auto done = stream_->finish(sink_); !done) return tl::unexpected(done.error());
  if (auto stored = writer_->finish(); !stored) return tl::unexpected(stored.error());
  return PartSum{stored_, sum_.hex()};
}

}  // namespace pgsteady::archive
