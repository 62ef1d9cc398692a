#include "postgres/control_file.h"

#include <gtest/gtest.h>

namespace pgsteady::pg {
namespace {

constexpr char kOutput[] =
    "pg_control version number:            1300\n"
    "Database system identifier:           7575757575757575757\n"
    "Database cluster state:               in archive recovery\n"
    "Latest checkpoint location:           1/2000060\n"
    "Latest checkpoint's TimeLineID:       3\n"
    "Latest checkpoint's PrevTimeLineID:   2\n"
    "Minimum recovery ending location:     1/3000148\n"
    "Min recovery ending loc's timeline:   4\n"
    "Backup start location:                0/0\n"
    "wal_level setting:                    replica\n"
    "max_connections setting:              120\n"
    "max_locks_per_xact setting:           64\n"
    "Data page checksum version:           1\n";

std::string replaced(const std::string& what, const std::string& with) {
  std::string text = kOutput;
  return text.replace(text.find(what), what.size(), with);
}

TEST(ControlData, IsRead) {
  auto control = parse_control_data(kOutput);
  ASSERT_TRUE(control);
  EXPECT_EQ(control->system_id.text(), "7575757575757575757");
  EXPECT_EQ(control->state, "in archive recovery");
  EXPECT_EQ(control->timeline, 3u);
  EXPECT_EQ(control->checkpoint.text(), "1/2000060");
  EXPECT_EQ(control->min_recovery.text(), "1/3000148");
  EXPECT_EQ(control->newest_timeline(), 4u);
  EXPECT_EQ(control->newest_lsn().text(), "1/3000148");
  EXPECT_TRUE(control->checksums);
  EXPECT_FALSE(control->within_backup);
  EXPECT_TRUE(parse_control_data(replaced("   0/0", "   1/2000028"))->within_backup);
  EXPECT_FALSE(parse_control_data(replaced("version:           1", "version:  0"))->checksums);
}

TEST(ControlData, GarbageIsCorrupt) {
  for (const auto& text :
       {std::string(), std::string("\0\xff:::\n:", 7), std::string("pg_controldata: error"),
        replaced("1/2000060", "1-2000060"), replaced("TimeLineID:       3", "TimeLineID:  -3"),
        replaced("TimeLineID:       3", "TimeLineID: 4294967296"),
        replaced("7575757575757575757", "99999999999999999999"), replaced("   0/0", "   nowhere"),
        replaced("Database cluster state:               in archive recovery\n", ""),
        "WARNING: Calculated CRC checksum does not match value stored in file.\n" +
            std::string(kOutput)}) {
    auto control = parse_control_data(text);
    ASSERT_FALSE(control) << text;
    EXPECT_EQ(control.error().kind, ErrorKind::corrupt);
  }
}

TEST(ControlData, TellsSettings) {
  const auto settings = settings_in_control_data(kOutput);
  EXPECT_EQ(settings.at("max_connections"), 120);
  EXPECT_EQ(settings.at("max_locks_per_xact"), 64);
  EXPECT_FALSE(settings.contains("wal_level"));  // no number
}

TEST(History, IsRead) {
  auto history = parse_history(
      "# comment\n1\t0/5000000\tno recovery target specified\n\n  2 1/A0 \tbefore 2000-01-01\r\n");
  ASSERT_TRUE(history);
  ASSERT_EQ(history->size(), 2u);
  EXPECT_EQ((*history)[0].timeline, 1u);
  EXPECT_EQ((*history)[0].end.text(), "0/5000000");
  EXPECT_EQ((*history)[0].reason, "no recovery target specified");
  EXPECT_EQ((*history)[1].timeline, 2u);
  EXPECT_EQ((*history)[1].end.text(), "1/A0");
  EXPECT_EQ((*history)[1].reason, "before 2000-01-01");
  EXPECT_TRUE(parse_history("")->empty());
  EXPECT_EQ(parse_history("1\t0/1")->size(), 1u);
  EXPECT_EQ(history_file_name(0x1f), "0000001F.history");
}

TEST(History, GarbageIsCorrupt) {
  for (const char* text : {"x\t0/1\n", "1\t0-1\n", "1\n", "2\t0/1\n1\t0/2\n", "1\t0/1\n1\t0/2\n",
                           "0\t0/1\n", "4294967296\t0/1\n", "-1\t0/1\n"}) {
    auto history = parse_history(text);
    ASSERT_FALSE(history) << text;
    EXPECT_EQ(history.error().kind, ErrorKind::corrupt);
  }
}

}  // namespace
}  // namespace pgsteady::pg
