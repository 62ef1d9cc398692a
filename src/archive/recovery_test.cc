#include "archive/recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace pgsteady::archive {
namespace {

using testing::HasSubstr;

Backup backup(const std::string& name, Timeline timeline, std::uint64_t finish,
              const std::string& time) {
  Backup b;
  b.name = name;
  b.timeline = timeline;
  b.finish_lsn = Lsn{finish};
  b.finish_time = time;
  return b;
}

TEST(Recovery, TimesNeedAZone) {
  auto noon = parse_target_time("2026-11-22 12:00:00+00");
  ASSERT_TRUE(noon) << noon.error().text();
  EXPECT_EQ(iso_time(*noon), "2026-11-22T12:00:00.000000+00:00");
  for (const char* same : {"2026-11-22T12:00:00Z", "2026-11-22 14:00:00 +02:00",
                           "2026-11-22 08:30:00-0330", "2026-11-22 12:00:00.000 UTC"}) {
    EXPECT_EQ(parse_target_time(same).value(), *noon) << same;
  }
  EXPECT_EQ(parse_target_time("2026-11-22 12:00:00.25+00").value() - *noon,
            std::chrono::milliseconds(250));
  EXPECT_THAT(parse_target_time("2026-11-22 12:00:00").error().message, HasSubstr("zone"));
  for (const char* bad : {"", "yesterday", "2026-11-22", "2026-11-22 12:00:00 CET",
                          "2026-11-22 12:00:00+2", "2026-11-22 12:00:00+99"}) {
    EXPECT_FALSE(parse_target_time(bad)) << bad;
  }
}

TEST(Recovery, TheNewestBackupBeforeTheTargetOnTheWay) {
  const std::vector<Backup> all = {
      backup("a", 1, 100, "2026-11-22T01:00:00Z"), backup("b", 1, 200, "2026-11-22T02:00:00Z"),
      backup("lost", 1, 900, "2026-11-22T03:00:00Z"),  // past the point where timeline 2 left
      backup("c", 2, 400, "2026-11-22T04:00:00Z")};
  const std::vector<TimelineSwitch> history = {{1, Lsn{300}, "", "", ""}};
  auto chosen = [&](const char* target) {
    return choose_backup(all, parse_target_time(target).value(), 2, history);
  };
  EXPECT_EQ(choose_backup(all, std::nullopt, 2, history)->name, "c");
  EXPECT_EQ(chosen("2026-11-22 05:00:00Z")->name, "c");
  EXPECT_EQ(chosen("2026-11-22 03:30:00Z")->name, "b");
  EXPECT_EQ(chosen("2026-11-22 01:30:00Z")->name, "a");
  auto none = chosen("2026-11-22 00:30:00Z");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::refused);
  EXPECT_THAT(none.error().message, HasSubstr("2026-11-22T00:30:00"));
  EXPECT_FALSE(choose_backup({}, std::nullopt, 1, {}));
}

TEST(BackupSentinel, IsWalGs) {
  Backup b = backup("base_000000020000000000000003", 2, 0x3000138, "2026-11-22T01:00:00.5Z");
  b.start_lsn = Lsn{0x3000028};
  b.pg_version = 150018;
  b.system = SystemId{7301234567890123456};
  b.tablespaces = {{"16384", "/fast"}};
  b.parts = {{"tar_partitions/part_001.tar.lz4", {17, "ab"}}};
  b.uncompressed_bytes = 1000;
  const auto object = sentinel_of(b);
  EXPECT_EQ(object.at("LSN").to_number<std::uint64_t>(), 0x3000028u);
  EXPECT_EQ(object.at("Version").to_number<int>(), 2);
  EXPECT_TRUE(object.at("FilesMetadataDisabled").as_bool());
  EXPECT_EQ(object.at("Spec").at("16384").at("loc").as_string(), "/fast");
  auto read = parse_sentinel(b.name, boost::json::serialize(object));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->start_lsn, b.start_lsn);
  EXPECT_EQ(read->timeline, 2u);
  EXPECT_EQ(read->system, b.system);
  EXPECT_EQ(read->tablespaces.at(0).location, "/fast");
  EXPECT_EQ(read->parts.at("tar_partitions/part_001.tar.lz4").size_bytes, 17u);
  EXPECT_EQ(read->finish_time, b.finish_time);
}

TEST(BackupSentinel, OfOthersAndNone) {
  auto wal_e = parse_sentinel("base_000000010000000000000002_00000040",
                              R"({"wal_segment_backup_stop": "000000010000000000000002",
          "wal_segment_offset_backup_stop": "00000312", "expanded_size_bytes": 31000000,
          "spec": {"base_prefix": "/d", "tablespaces": ["17"], "17": {"loc": "/ts", "link": "x"}}})");
  ASSERT_TRUE(wal_e) << wal_e.error().text();
  EXPECT_TRUE(wal_e->by_wal_e);
  EXPECT_EQ(wal_e->uncompressed_bytes, 31000000u);
  EXPECT_EQ(wal_e->stop_offset, "00000312");
  EXPECT_EQ(wal_e->tablespaces.at(0).oid, "17");
  auto delta = parse_sentinel("base_000000010000000000000004_D_000000010000000000000002",
                              R"({"LSN": 1, "FinishLSN": 2, "DeltaFrom": "base_0"})");
  EXPECT_EQ(delta->base_of_delta, "base_0");
  for (const char* bad : {"", "[]", "{}", "{\"LSN\": 1}"}) {
    EXPECT_EQ(parse_sentinel("base_x", bad).error().kind, ErrorKind::corrupt) << bad;
  }
}

}  // namespace
}  // namespace pgsteady::archive
