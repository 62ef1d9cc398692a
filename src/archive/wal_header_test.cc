#include "archive/wal_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace pgsteady::archive {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t k16MiB = 16 << 20;

std::string header(std::uint64_t system, std::uint32_t timeline, std::uint64_t address,
                   std::uint32_t bytes, std::uint16_t magic = 0xD110, std::uint16_t info = 2) {
  std::string text(kWalHeaderBytes, '\0');
  std::memcpy(text.data(), &magic, 2);
  std::memcpy(text.data() + 2, &info, 2);
  std::memcpy(text.data() + 4, &timeline, 4);
  std::memcpy(text.data() + 8, &address, 8);
  std::memcpy(text.data() + 24, &system, 8);
  std::memcpy(text.data() + 32, &bytes, 4);
  return text;
}

TEST(WalName, KindsAndNothingElse) {
  auto segment = parse_wal_name("0000000A00000001000000FE");
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->kind, WalKind::segment);
  EXPECT_EQ(segment->timeline, 10u);
  EXPECT_EQ(segment->start(k16MiB).text(), "1/FE000000");
  EXPECT_EQ(segment_name(10, segment->start(k16MiB), k16MiB), segment->text);
  EXPECT_EQ(wal_key(*segment), "wal_005/0000000A00000001000000FE");
  EXPECT_EQ(parse_wal_name("000000010000000000000002.partial")->kind, WalKind::partial);
  EXPECT_EQ(parse_wal_name("000000010000000000000002.00000028.backup")->kind, WalKind::backup);
  EXPECT_EQ(parse_wal_name("00000002.history")->kind, WalKind::history);
  for (const char* bad :
       {"", "x", "00000001", "00000000.history", "0000000a00000001000000fe", "../../etc/passwd",
        "000000010000000000000002.lz4", "000000010000000000000002.0000028.backup",
        "000000010000000000000002x00000028.backup", "0000000100000000000000021",
        "00000002.history2", "000000010000000000000002.partial.partial", "RECOVERYXLOG"}) {
    EXPECT_FALSE(parse_wal_name(bad)) << bad;
  }
}

TEST(WalHeader, OfTheSegmentThatTheNameTells) {
  const auto name = *parse_wal_name("000000020000000000000003");
  const auto good = header(77, 1, 3 * k16MiB, k16MiB);
  auto found = check_segment(name, good, k16MiB, SystemId{77});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->system.value, 77u);
  EXPECT_TRUE(check_segment(name, good, k16MiB, std::nullopt));
  const auto large = *parse_wal_name("000000020000000100000003");
  EXPECT_TRUE(check_segment(large, header(77, 2, (1ull << 32) + (3ull << 30), 1 << 30), 1 << 30,
                            SystemId{77}));

  struct Case {
    std::string bytes;
    std::uint64_t size;
    ErrorKind kind;
    const char* says;
  };
  for (const auto& bad :
       {Case{"", 0, ErrorKind::corrupt, "is empty"},
        {good.substr(0, 39), k16MiB, ErrorKind::corrupt, "shorter"},
        {std::string(40, '\0'), k16MiB, ErrorKind::corrupt, "no WAL page"},
        {good, k16MiB - 1, ErrorKind::corrupt, "16777215 bytes"},
        {header(78, 1, 3 * k16MiB, k16MiB), k16MiB, ErrorKind::refused, "the system 78, not to 77"},
        {header(77, 1, 2 * k16MiB, k16MiB), k16MiB, ErrorKind::corrupt, "begins at 0/2000000"},
        {header(77, 3, 3 * k16MiB, k16MiB), k16MiB, ErrorKind::corrupt, "timeline 3"},
        {header(77, 1, 3 * k16MiB, k16MiB, 0xD110, 0), k16MiB, ErrorKind::corrupt, "first page"},
        {header(77, 1, 3 * k16MiB, 3 << 20), 3 << 20, ErrorKind::corrupt, "segment size"}}) {
    auto checked = check_segment(name, bad.bytes, bad.size, SystemId{77});
    ASSERT_FALSE(checked) << bad.says;
    EXPECT_EQ(checked.error().kind, bad.kind);
    EXPECT_THAT(checked.error().message, HasSubstr(bad.says));
  }
}

}  // namespace
}  // namespace pgsteady::archive
