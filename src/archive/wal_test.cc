// Pushing and fetching on a directory, with segments made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "archive/object.h"
#include "archive/settings.h"
#include "archive/system_id.h"
#include "archive/wal_fetch.h"
#include "archive/wal_header.h"
#include "archive/wal_push.h"

namespace pgsteady::archive {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::uint32_t kSegment = 1 << 20;
constexpr char kThird[] = "000000010000000000000003";

std::string segment(std::uint64_t system, std::uint64_t address, char fill = 'w') {
  std::string text(kSegment, fill);
  std::memset(text.data(), 0, kWalHeaderBytes);
  const std::uint16_t magic = 0xD110, info = 2;
  const std::uint32_t timeline = 1;
  std::memcpy(text.data(), &magic, 2);
  std::memcpy(text.data() + 2, &info, 2);
  std::memcpy(text.data() + 4, &timeline, 4);
  std::memcpy(text.data() + 8, &address, 8);
  std::memcpy(text.data() + 24, &system, 8);
  std::memcpy(text.data() + 32, &kSegment, 4);
  return text;
}

class Wal : public testing::Test {
 protected:
  Wal() {
    char pattern[] = "/tmp/pgsteady-wal-XXXXXX";
    root_ = mkdtemp(pattern);
    for (const char* name : {"archive", "data/pg_wal", "data/global", "other/global"}) {
      fs::create_directories(root_ + "/" + name);
    }
    own_system("data", 77);
    own_system("other", 78);
    settings_.directory = root_ + "/archive";
    store_ = std::move(*open_store(settings_));
  }
  ~Wal() override { fs::remove_all(root_); }

  void own_system(const std::string& data, std::uint64_t system) const {
    write(root_ + "/" + data + "/global/pg_control",
          std::string(8, '\0').replace(0, 8, reinterpret_cast<const char*>(&system), 8));
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    return content.str();
  }
  std::string in_archive(const std::string& key) const { return root_ + "/archive/" + key; }

  Result<Pushed> push(const std::string& name, const std::string& content) {
    const auto path = root_ + "/data/pg_wal/" + name;
    write(path, content);
    return wal_push(*store_, settings_, path);
  }
  Result<void> fetch(const std::string& name, const std::string& data = "data") {
    fs::remove(target());
    return wal_fetch(*store_, name, target(), root_ + "/" + data);
  }
  std::string target() const { return root_ + "/fetched"; }

  std::string root_;
  Settings settings_;
  std::unique_ptr<store::ObjectStore> store_;
};

TEST_F(Wal, EveryKindGoesInAndComesOut) {
  const std::string history = "1\t0/3000000\tno recovery target specified\n";
  const std::pair<std::string, std::string> files[] = {
      {kThird, segment(77, 3ull * kSegment)},
      {std::string(kThird) + ".partial", segment(77, 3ull * kSegment, 'p')},
      {std::string(kThird) + ".00000028.backup", "START WAL LOCATION: 0/3000028\n"},
      {"00000002.history", history}};
  for (auto method : {Method::lz4, Method::zstd, Method::none}) {
    settings_.method = method;
    for (const auto& [name, content] : files) {
      auto pushed = push(name, content);
      ASSERT_TRUE(pushed) << pushed.error().text();
      EXPECT_EQ(*pushed, Pushed::stored);
      EXPECT_TRUE(fs::exists(in_archive("wal_005/" + name + extension(method)))) << name;
      EXPECT_EQ(*push(name, content), Pushed::was_there);
      auto fetched = fetch(name);
      ASSERT_TRUE(fetched) << fetched.error().text();
      EXPECT_EQ(read(target()), content);
    }
    fs::remove_all(in_archive("wal_005"));
  }
  EXPECT_EQ(read(in_archive("sysids/sysid")), "77\n");
}

TEST_F(Wal, TheSameAgainIsFineAndAnotherContentIsRefused) {
  ASSERT_TRUE(push(kThird, segment(77, 3ull * kSegment)));
  settings_.method = Method::zstd;  // another method makes no second object
  EXPECT_EQ(*push(kThird, segment(77, 3ull * kSegment)), Pushed::was_there);
  EXPECT_FALSE(fs::exists(in_archive(std::string("wal_005/") + kThird + ".zst")));
  const auto before = read(in_archive(std::string("wal_005/") + kThird + ".lz4"));
  auto other = push(kThird, segment(77, 3ull * kSegment, 'x'));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::refused);
  EXPECT_THAT(other.error().message, HasSubstr("another content"));
  EXPECT_EQ(read(in_archive(std::string("wal_005/") + kThird + ".lz4")), before);
  // Neither a longer nor a shorter file with the same beginning is the same.
  const std::string history = "1\t0/3000000\tno recovery target specified\n";
  ASSERT_TRUE(push("00000002.history", history));
  EXPECT_FALSE(push("00000002.history", history + "2\t0/4000000\tx\n"));
  EXPECT_FALSE(push("00000002.history", history.substr(0, 20) + "\n"));
}

TEST_F(Wal, WhatDoesNotBelongHereIsRefused) {
  ASSERT_TRUE(push(kThird, segment(77, 3ull * kSegment)));
  const std::string fourth = "000000010000000000000004";
  EXPECT_EQ(push(fourth, segment(78, 4ull * kSegment)).error().kind, ErrorKind::refused);
  EXPECT_EQ(push(fourth, segment(77, 5ull * kSegment)).error().kind, ErrorKind::corrupt);
  EXPECT_EQ(push(fourth, segment(77, 4ull * kSegment).substr(1000)).error().kind,
            ErrorKind::corrupt);
  EXPECT_EQ(push(fourth, "").error().kind, ErrorKind::corrupt);
  EXPECT_EQ(push("00000002.history", "").error().kind, ErrorKind::corrupt);
  EXPECT_EQ(push("00000002.history", "nonsense\n").error().kind, ErrorKind::corrupt);
  EXPECT_EQ(push("postgresql.conf", "x").error().kind, ErrorKind::refused);
  own_system("data", 78);  // another cluster with the same settings
  auto twin = push(fourth, segment(78, 4ull * kSegment));
  ASSERT_FALSE(twin);
  EXPECT_THAT(twin.error().message, HasSubstr("belongs to the system 77, this one is 78"));
  EXPECT_FALSE(push("00000002.history", "1\t0/3000000\tx\n"));
  EXPECT_FALSE(fs::exists(in_archive("wal_005/" + fourth + ".lz4")));
}

TEST_F(Wal, DamageIsNeverServed) {
  ASSERT_TRUE(push(kThird, segment(77, 3ull * kSegment)));
  const auto object = in_archive(std::string("wal_005/") + kThird + ".lz4");
  const auto good = read(object);
  auto flipped = good;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
  for (const auto& bad :
       {std::string(), good.substr(0, good.size() / 2), flipped, good.substr(0, good.size() - 1)}) {
    write(object, bad);
    auto fetched = fetch(kThird);
    ASSERT_FALSE(fetched);
    EXPECT_EQ(fetched.error().kind, ErrorKind::corrupt);
    EXPECT_FALSE(fs::exists(target()));
    EXPECT_EQ(fetch_exit_code(fetched, Asker::recovery), 126);
    // A server that still has it is told, not thanked.
    EXPECT_FALSE(push(kThird, segment(77, 3ull * kSegment)));
  }
  fs::remove(object);
  // Whole, but not the segment that its name tells: uncompressed objects have no checksum of ours.
  for (const auto& bad :
       {std::string(), segment(77, 4ull * kSegment), std::string(kSegment, 'x')}) {
    write(in_archive(std::string("wal_005/") + kThird), bad);
    EXPECT_EQ(fetch(kThird).error().kind, ErrorKind::corrupt);
  }
  write(in_archive(std::string("wal_005/") + kThird), segment(78, 3ull * kSegment));
  EXPECT_EQ(fetch(kThird).error().kind, ErrorKind::refused);
  EXPECT_TRUE(fetch(kThird, "other"));
  EXPECT_FALSE(fs::exists(target() + ".pgsteady-new"));
}

TEST_F(Wal, ExitCodesTellMissingFromUnknown) {
  const Result<void> missing = fail(ErrorKind::not_found, ""), broken = fail(ErrorKind::retry, "");
  for (auto asker : {Asker::recovery, Asker::standby, Asker::other}) {
    EXPECT_EQ(fetch_exit_code({}, asker), 0);
    EXPECT_EQ(fetch_exit_code(missing, asker), 1);
  }
  EXPECT_EQ(fetch_exit_code(broken, Asker::recovery), 126);
  EXPECT_EQ(fetch_exit_code(broken, Asker::standby), 1);
  EXPECT_EQ(fetch_exit_code(broken, Asker::other), 2);
  EXPECT_EQ(asker_of(root_ + "/data"), Asker::other);
  write(root_ + "/data/recovery.signal", "");
  EXPECT_EQ(asker_of(root_ + "/data"), Asker::recovery);

  // In a recovery, an archive without any WAL is the wrong one or not mounted.
  EXPECT_EQ(fetch(kThird).error().kind, ErrorKind::refused);
  ASSERT_TRUE(push(kThird, segment(77, 3ull * kSegment)));
  EXPECT_EQ(fetch("000000010000000000000004").error().kind, ErrorKind::not_found);
  fs::remove_all(root_ + "/archive");
  EXPECT_EQ(fetch(kThird).error().kind, ErrorKind::refused);
  write(root_ + "/data/standby.signal", "");
  EXPECT_EQ(asker_of(root_ + "/data"), Asker::standby);
  EXPECT_EQ(wal_fetch(*store_, kThird, "/nonexistent/x", "").error().kind, ErrorKind::refused);
}

TEST(ArchiveSettings, FromTheNamesOfWalG) {
  auto variables =
      variables_of({"WALG_FILE_PREFIX=/a b=c", "EMPTY=", "WALG_COMPRESSION_METHOD=zstd"});
  auto settings = read_settings(variables);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->directory, "/a b=c");
  EXPECT_EQ(settings->method, Method::zstd);
  EXPECT_FALSE(variables.contains("EMPTY"));
  EXPECT_EQ(read_settings({{"WALG_FILE_PREFIX", "file:///x"}})->directory, "/x");
  EXPECT_THAT(read_settings({}).error().hint, HasSubstr("WALG_FILE_PREFIX"));
  EXPECT_FALSE(read_settings({{"WALG_FILE_PREFIX", "relative"}}));
  EXPECT_FALSE(read_settings({{"WALG_FILE_PREFIX", "/x"}, {"WALG_COMPRESSION_METHOD", "brotli"}}));
}

TEST(ArchiveSettings, Buckets) {
  auto settings = read_settings({{"WALE_S3_PREFIX", "s3://bucket/backups/demo/wal/"},
                                 {"WALE_S3_ENDPOINT", "https+path://host:8443"},
                                 {"AWS_ACCESS_KEY_ID", "key"},
                                 {"AWS_SECRET_ACCESS_KEY", "secret"},
                                 {"AWS_REGION", "eu-central-1"}});
  ASSERT_TRUE(settings) << settings.error().text();
  EXPECT_EQ(settings->s3.bucket, "bucket");
  EXPECT_EQ(settings->s3.prefix, "backups/demo/wal");
  EXPECT_EQ(settings->s3.endpoint, "https://host:8443");
  EXPECT_TRUE(settings->s3.path_style);
  EXPECT_EQ(settings->s3.region, "eu-central-1");
  EXPECT_EQ((*open_store(*settings))->name(), "s3://bucket/backups/demo/wal");
  auto own = read_settings({{"WALG_S3_PREFIX", "s3://b"}, {"AWS_ENDPOINT", "http://h:1"}});
  EXPECT_FALSE(own->s3.path_style);
  EXPECT_EQ(own->s3.endpoint, "http://h:1");
  EXPECT_THAT(open_store(*own).error().hint, HasSubstr("AWS_ACCESS_KEY_ID"));
  EXPECT_FALSE(read_settings({{"WALG_S3_PREFIX", "bucket/x"}}));
  EXPECT_FALSE(read_settings({{"WALG_S3_PREFIX", "s3://b"}, {"WALG_FILE_PREFIX", "/x"}}));
}

TEST(ArchiveSettings, AnEnvdirWins) {
  char pattern[] = "/tmp/pgsteady-envdir-XXXXXX";
  const std::string directory = mkdtemp(pattern);
  std::ofstream(directory + "/WALG_FILE_PREFIX") << "/with blank=and more \t\nsecond line\n";
  std::ofstream(directory + "/GONE") << "";
  Variables variables = {{"WALG_FILE_PREFIX", "/x"}, {"GONE", "1"}};
  ASSERT_TRUE(add_envdir(directory, variables));
  EXPECT_EQ(variables, (Variables{{"WALG_FILE_PREFIX", "/with blank=and more"}}));
  fs::remove_all(directory);
  EXPECT_FALSE(add_envdir(directory, variables));
}

}  // namespace
}  // namespace pgsteady::archive
