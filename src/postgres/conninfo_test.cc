#include "postgres/conninfo.h"

#include <gtest/gtest.h>

#include "postgres/server.h"

namespace pgsteady::pg {
namespace {

TEST(Conninfo, QuotesAndLeavesOutTheEmpty) {
  EXPECT_EQ(conninfo({{"host", "a b"}, {"user", ""}, {"password", "it's \\"}}),
            "host='a b' password='it\\'s \\\\'");
  EXPECT_EQ(conninfo({}), "");
}

TEST(Conninfo, TellsItsUpstream) {
  EXPECT_EQ(upstream_of_conninfo(conninfo({{"host", "pg1"}, {"port", "5433"}})), "pg1:5433");
  EXPECT_EQ(upstream_of_conninfo("host=pg1"), "pg1:5432");
  EXPECT_EQ(upstream_of_conninfo("postgres://u@pg1:77/db"), "pg1:77");
  EXPECT_EQ(upstream_of_conninfo("host=::1 port=1"), "[::1]:1");
  EXPECT_EQ(upstream_of_conninfo(""), "");
  EXPECT_EQ(upstream_of_conninfo("user=x"), "");
  EXPECT_EQ(upstream_of_conninfo("host='open"), "");
}

TEST(Quoting, HoldsWhatItQuotes) {
  EXPECT_EQ(sql_literal("it's"), "'it''s'");
  EXPECT_EQ(sql_literal("a\\'b"), "E'a\\\\''b'");
  EXPECT_EQ(sql_identifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(guc_literal("it's a\\b\nc\r"), "'it''s a\\\\b\\nc\\r'");
  EXPECT_EQ(pgpass_field("a:b\\c"), "a\\:b\\\\c");
}

TEST(SlotName, FollowsPatronisRule) {
  EXPECT_EQ(slot_name("pg_1"), "pg_1");
  EXPECT_EQ(slot_name("Node-A.example"), "node_a_example");
  EXPECT_EQ(slot_name("a b"), "au0032b");
  EXPECT_EQ(slot_name("\xc3\xa9"), "u0233");            // é
  EXPECT_EQ(slot_name("\xf0\x9f\x90\x98"), "u128024");  // an elephant
  EXPECT_EQ(slot_name("\xff"), "u0255");
  EXPECT_EQ(slot_name(std::string(100, 'x')), std::string(63, 'x'));
}

}  // namespace
}  // namespace pgsteady::pg
