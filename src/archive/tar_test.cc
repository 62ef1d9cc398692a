#include "archive/tar.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace pgsteady::archive {
namespace {

class Collect : public TarSink {
 public:
  Result<void> begin(const TarMember& member) override {
    text += member.name + (member.kind == TarMember::Kind::directory ? "/" : "") +
            (member.kind == TarMember::Kind::link ? "->" + member.target : "") + "[";
    return {};
  }
  Result<void> data(std::string_view bytes) override {
    text += bytes;
    return {};
  }
  Result<void> end() override {
    text += "]";
    return {};
  }
  std::string text;
};

Result<std::string> read(std::string_view archive, std::size_t piece) {
  Collect collect;
  TarReader reader(collect);
  while (!archive.empty()) {
    if (auto fed = reader.feed(archive.substr(0, piece)); !fed) return tl::unexpected(fed.error());
    archive.remove_prefix(std::min(piece, archive.size()));
  }
  if (auto whole = reader.finish(); !whole) return tl::unexpected(whole.error());
  return collect.text;
}

std::string file(const std::string& name, const std::string& content) {
  return tar_header({name, TarMember::Kind::file, content.size(), 0600, 1700000000, ""}) + content +
         std::string(tar_padding(content.size()), '\0');
}

std::string of_program(const std::string& options) {
  char pattern[] = "/tmp/pgsteady-tar-XXXXXX";
  const std::string dir = mkdtemp(pattern);
  const auto command = "cd " + dir + " && mkdir -p d/" + std::string(90, 'n') +
                       " && echo -n hello > d/f && : > d/empty && echo -n deep > d/" +
                       std::string(90, 'n') + "/" + std::string(30, 'g') +
                       " && ln -s /target d/l && tar " + options + " --sort=name -cf a.tar d";
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream in(dir + "/a.tar", std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  EXPECT_EQ(std::system(("rm -r " + dir).c_str()), 0);
  return content.str();
}

TEST(Tar, ReadsWhatItWrites) {
  const auto name = "base/" + std::string(150, 'x');
  const auto archive = tar_header({"base", TarMember::Kind::directory, 0, 0700, 0, ""}) +
                       file("base/1", "one") + file("empty", "") +
                       file(name, std::string(512, 'z')) + tar_end();
  const auto wanted = "base/[]base/1[one]empty[]" + name + "[" + std::string(512, 'z') + "]";
  for (std::size_t piece : {size_t{1}, size_t{100}, size_t{512}, archive.size()}) {
    auto found = read(archive, piece);
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ(*found, wanted);
  }
  EXPECT_EQ(read(archive.substr(0, 700), 100).error().kind, ErrorKind::corrupt);
  auto damaged = archive;
  damaged[3] = 'X';
  EXPECT_EQ(read(damaged, 100).error().kind, ErrorKind::corrupt);
}

TEST(Tar, ReadsAllDialects) {
  const std::string deep = "d/" + std::string(90, 'n');
  for (const char* format : {"--format=gnu", "--format=pax", "--format=ustar"}) {
    auto found = read(of_program(format), 1000);
    ASSERT_TRUE(found) << format << found.error().text();
    EXPECT_EQ(*found, "d/[]d/empty[]d/f[hello]d/l->/target[]" + deep + "/[]" + deep + "/" +
                          std::string(30, 'g') + "[deep]")
        << format;
  }
}

TEST(Tar, TheProgramReadsOurs) {
  char pattern[] = "/tmp/pgsteady-tar-XXXXXX";
  const std::string dir = mkdtemp(pattern);
  std::ofstream(dir + "/a.tar", std::ios::binary)
      << file("f", "hello") + file(std::string(150, 'y'), "long") + tar_end();
  EXPECT_EQ(std::system(("cd " + dir + " && tar xf a.tar && test $(cat f) = hello && test $(cat " +
                         std::string(150, 'y') + ") = long")
                            .c_str()),
            0);
  EXPECT_EQ(std::system(("rm -r " + dir).c_str()), 0);
}

TEST(Tar, NamesStayInside) {
  EXPECT_EQ(*safe_member_name("/base//1/./2"), "base/1/2");
  EXPECT_EQ(*safe_member_name("/"), "");
  for (const char* bad : {"..", "a/../../b", "/../x"}) EXPECT_FALSE(safe_member_name(bad)) << bad;
  EXPECT_FALSE(read(file("a/../../x", "1") + tar_end(), 512));
}

}  // namespace
}  // namespace pgsteady::archive
