#include "postgres/server_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "postgres/live_server.h"

namespace pgsteady::pg::testing {
namespace {

constexpr char kRefused[] =
    "2026-11-23 01:00:00.000 UTC [7] root@postgres FATAL:  the database system is starting up\n";
constexpr char kBroken[] =
    "2026-11-23 01:00:00.000 UTC [8] FATAL:  could not locate required checkpoint record\n";

TEST(ServerLog, TheLastComplaintIsNotAClients) {
  EXPECT_EQ(last_complaint(""), "");
  EXPECT_EQ(last_complaint(kRefused), "");
  EXPECT_EQ(last_complaint(std::string(kBroken) + kRefused + "LOG:  database system is shut down"),
            "FATAL:  could not locate required checkpoint record");
  EXPECT_EQ(last_complaint(std::string(kBroken) + "PANIC:  later"), "PANIC:  later");
}

TEST(ServerLog, OnlyWhatWasWrittenSinceTheMarkCounts) {
  Directory directory;
  const auto path = directory.path + "/postgresql-Mon.log";
  EXPECT_EQ(complaint_since(directory.path, mark_log(directory.path)), "");
  std::ofstream(path) << kBroken;
  const auto mark = mark_log(directory.path);
  EXPECT_EQ(mark.file, path);
  EXPECT_EQ(complaint_since(directory.path, mark), "");
  std::ofstream(path, std::ios::app) << "FATAL:  later\n";
  EXPECT_EQ(complaint_since(directory.path, mark), "FATAL:  later");
  std::ofstream(path, std::ios::trunc) << "FATAL:  anew\n";
  EXPECT_EQ(complaint_since(directory.path, mark), "FATAL:  anew");
  EXPECT_EQ(complaint_since(directory.path + "/none", mark), "");
}

}  // namespace
}  // namespace pgsteady::pg::testing
