#include "archive/codec.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

namespace pgsteady::archive {
namespace {

using CodecResult = Result<std::string>;

CodecResult run(Stream& stream, std::string_view in, std::size_t piece) {
  std::string out;
  std::size_t largest = 0;
  const Sink sink = [&](std::string_view bytes) -> Result<void> {
    largest = std::max(largest, bytes.size());
    out += bytes;
    return {};
  };
  while (!in.empty()) {
    if (auto fed = stream.feed(in.substr(0, piece), sink); !fed) return tl::unexpected(fed.error());
    in.remove_prefix(std::min(piece, in.size()));
  }
  if (auto done = stream.finish(sink); !done) return tl::unexpected(done.error());
  EXPECT_LE(largest, (256u << 10) + 4096);
  return out;
}

CodecResult unpack(Method method, std::string_view in, std::size_t piece = 1 << 16) {
  auto stream = make_decompressor(method);
  if (!stream) return tl::unexpected(stream.error());
  return run(**stream, in, piece);
}

std::string pack(Method method, std::string_view in, std::size_t piece = 1 << 16) {
  auto stream = make_compressor(method);
  auto out = run(**stream, in, piece);
  EXPECT_TRUE(out);
  return out.value_or("");
}

// What the method's own program makes of it.
std::string by_program(const std::string& command, const std::string& in) {
  char from[] = "/tmp/pgsteady-codec-XXXXXX";
  const int fd = mkstemp(from);
  EXPECT_GE(fd, 0);
  std::ofstream(from, std::ios::binary) << in;
  const auto to = std::string(from) + ".out";
  EXPECT_EQ(std::system((command + " < " + from + " > " + to).c_str()), 0);
  std::ifstream file(to, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  std::remove(from);
  std::remove(to.c_str());
  return content.str();
}

std::string sample(std::size_t size) {
  std::mt19937 random(5);
  std::string text;
  while (text.size() < size) {
    if (random() % 4 == 0) {
      text.append(random() % 2000, static_cast<char>(random()));
    } else {
      text += static_cast<char>(random());
    }
  }
  return text;
}

TEST(Codec, WhatIsWrittenIsReadAgain) {
  for (auto method : {Method::none, Method::lz4, Method::zstd}) {
    for (std::size_t size : {0u, 1u, 1000u, 3000000u}) {
      const auto content = sample(size);
      for (std::size_t piece : {size_t{777}, size_t{1} << 20}) {
        const auto packed = pack(method, content, piece);
        EXPECT_EQ(*unpack(method, packed, piece), content);
      }
    }
  }
  // A bomb comes out in small pieces.
  const std::string zeros(64 << 20, '\0');
  for (auto method : {Method::lz4, Method::zstd}) {
    EXPECT_EQ(unpack(method, pack(method, zeros), 1 << 20)->size(), zeros.size());
  }
}

TEST(Codec, OtherMethodsAreRead) {
  const auto content = sample(1000000);
  struct Case {
    Method method;
    const char* command;
  };
  for (const auto& [method, command] : {Case{Method::gzip, "gzip -c"},
                                        {Method::lzo, "lzop -c"},
                                        {Method::lzma, "xz --format=lzma -c"},
                                        {Method::lzma, "xz -c"}}) {
    const auto packed = by_program(command, content);
    for (std::size_t piece : {size_t{1000}, size_t{1} << 20}) {
      auto read = unpack(method, packed, piece);
      ASSERT_TRUE(read) << command << ": " << read.error().text();
      EXPECT_EQ(*read, content) << command;
    }
    EXPECT_EQ(unpack(method, packed.substr(0, packed.size() / 2)).error().kind, ErrorKind::corrupt)
        << command;
    EXPECT_EQ(unpack(method, "").error().kind, ErrorKind::corrupt) << command;
  }
  const std::string hello_br("\x0b\x02\x80hello\x03", 9);
  EXPECT_EQ(*unpack(Method::brotli, hello_br), "hello");
  EXPECT_EQ(*unpack(Method::brotli, hello_br, 1), "hello");
  EXPECT_FALSE(unpack(Method::brotli, hello_br.substr(0, 6)));
  EXPECT_FALSE(unpack(Method::brotli, ""));
}

TEST(Codec, GzipMembersAreOneStream) {
  const auto two = by_program("gzip -c", "one") + by_program("gzip -c", "two");
  for (std::size_t piece : {1u, 7u, 1000u}) EXPECT_EQ(*unpack(Method::gzip, two, piece), "onetwo");
}

TEST(Codec, DamageIsFoundWhereverItIs) {
  const auto content = sample(200000);
  for (auto method : {Method::lz4, Method::zstd}) {
    const auto packed = pack(method, content);
    EXPECT_EQ(unpack(method, "").error().kind, ErrorKind::corrupt);
    for (std::size_t cut : {size_t{1}, packed.size() / 2, packed.size() - 1}) {
      EXPECT_EQ(unpack(method, packed.substr(0, cut)).error().kind, ErrorKind::corrupt) << cut;
    }
    for (std::size_t at = 0; at < packed.size(); at += packed.size() / 97) {
      auto damaged = packed;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
      auto read = unpack(method, damaged);
      EXPECT_TRUE(!read || *read == content) << "byte " << at;
    }
  }
}

TEST(Codec, ErrorsOfTheSinkEndTheStream) {
  const Sink full = [](std::string_view) -> Result<void> { return fail(ErrorKind::retry, "full"); };
  for (auto method : {Method::none, Method::lz4, Method::zstd}) {
    auto stream = make_decompressor(method);
    auto fed = (*stream)->feed(pack(method, sample(300000)), full);
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().message, "full");
  }
}

TEST(Codec, MethodsAndTheirNames) {
  for (const auto& text : all_extensions()) EXPECT_EQ(extension(method_of_extension(text)), text);
  EXPECT_EQ(method_by_name("lz4"), Method::lz4);
  EXPECT_FALSE(method_by_name("brotli"));
  EXPECT_EQ(make_compressor(Method::brotli).error().kind, ErrorKind::refused);
}

}  // namespace
}  // namespace pgsteady::archive
