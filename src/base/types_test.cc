#include "base/types.h"

#include <gtest/gtest.h>

namespace pgsteady {
namespace {

TEST(Lsn, ReadsAndWritesPostgresNotation) {
  EXPECT_EQ(Lsn::parse("16/B374D848")->value, 0x16B374D848u);
  EXPECT_EQ(Lsn{0x16B374D848}.text(), "16/B374D848");
  EXPECT_EQ(Lsn{0x500000028}.text(), "5/28");
  EXPECT_EQ(Lsn::parse("FFFFFFFF/FFFFFFFF")->value, ~0ull);
}

TEST(Lsn, ComparesAsANumberNotAsText) {
  EXPECT_LT(*Lsn::parse("9/0"), *Lsn::parse("10/0"));
}

TEST(Lsn, RefusesWhatPostgresWouldNotWrite) {
  for (const char* bad : {"", "/", "1", "1/", "/1", "G/1", "1/-1", " 1/1", "1/1 ", "100000000/0",
                          "0/100000000", "0x1/0"}) {
    EXPECT_FALSE(Lsn::parse(bad)) << bad;
  }
}

TEST(SystemId, IsPositiveDecimal) {
  EXPECT_EQ(SystemId::parse("7301234567890123456")->value, 7301234567890123456u);
  for (const char* bad : {"", "0", "-1", "12a", "99999999999999999999999"}) {
    EXPECT_FALSE(SystemId::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace pgsteady
