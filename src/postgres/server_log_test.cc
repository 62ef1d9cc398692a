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
  EXPECT_EQ(complaints_in("").last, "");
  EXPECT_EQ(complaints_in(kRefused).last, "");
  EXPECT_EQ(
      complaints_in(std::string(kBroken) + kRefused + "LOG:  database system is shut down").last,
      "FATAL:  could not locate required checkpoint record");
  EXPECT_EQ(complaints_in(std::string(kBroken) + "PANIC:  later").last, "PANIC:  later");
}

TEST(ServerLog, WhatAnUpstreamRefusesIsToldApart) {
  const std::string stream = "FATAL:  could not start WAL streaming: ERROR:  ";
  const auto refusal = stream + "requested starting point 0/3 is not in this server's history";
  auto found = complaints_in(std::string(kRefused) + refusal + "\nFATAL:  unsupported protocol\n");
  EXPECT_EQ(found.refusal, refusal);
  EXPECT_EQ(found.refused_at, std::string(kRefused).size());
  EXPECT_EQ(found.last, "FATAL:  unsupported protocol");
  EXPECT_EQ(complaints_in(stream + "replication slot \"a\" does not exist").refusal, "");
  EXPECT_EQ(complaints_in("FATAL:  could not connect to the primary server: ERROR").refusal, "");
  EXPECT_NE(complaints_in("FATAL:  highest timeline 1 of the primary is behind recovery timeline 2")
                .refusal,
            "");
}

TEST(ServerLog, OnlyWhatWasWrittenSinceTheMarkCounts) {
  Directory directory;
  const auto path = directory.path + "/postgresql-Mon.log";
  EXPECT_EQ(complaints_since(directory.path, mark_log(directory.path)).last, "");
  std::ofstream(path) << kBroken;
  const auto mark = mark_log(directory.path);
  EXPECT_EQ(mark.file, path);
  EXPECT_EQ(complaints_since(directory.path, mark).last, "");
  std::ofstream(path, std::ios::app) << "FATAL:  later\n";
  EXPECT_EQ(complaints_since(directory.path, mark).last, "FATAL:  later");
  std::ofstream(path, std::ios::trunc) << "FATAL:  anew\n";
  EXPECT_EQ(complaints_since(directory.path, mark).last, "FATAL:  anew");
  EXPECT_EQ(complaints_since(directory.path + "/none", mark).last, "");
}

}  // namespace
}  // namespace pgsteady::pg::testing
