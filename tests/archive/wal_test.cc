// archive_command and restore_command with a real PostgreSQL, on a directory.
#include <fstream>

#include "archive/fixture.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ArchivedWal : public ArchiveTest {
 protected:
  // A copy of the stopped server, which will recover from the archive.
  void copy_data(const fs::path& to) {
    auto copied = run_command({"cp", "-a", server_->data(), to});
    ASSERT_EQ(copied.exit_code, 0) << copied.text;
  }
};

// A copy taken at the beginning, and the archive, make up all that was written.
void restores(PlainServer& copy, const std::string& command) {
  copy.append(command);
  std::ofstream(copy.data() / "recovery.signal") << "";
  copy.start();
  ASSERT_TRUE(copy.wait_primary()) << copy.log();
  EXPECT_EQ(copy.sql("select count(*) from t"), "30000");
}

TEST_F(ArchivedWal, WhatIsArchivedRestores) {
  start_archiving({"--wal-segsize=4"});
  server_->stop();
  copy_data(dir_.path() / "copy");
  server_->start();
  ASSERT_TRUE(server_->wait_ready());
  server_->sql("create table t as select generate_series(1, 30000) n, repeat('x', 300) filler");
  archive_all();
  server_->kill();
  PlainServer copy(dir_.path() / "copy", environment_);
  restores(copy, restore_command());
  // The new timeline archives beside the old one.
  EXPECT_TRUE(eventually(Millis(30000), [&] {
    return fs::exists(archive_ / "wal_005/00000002.history.lz4");
  })) << copy.log();
}

TEST_F(ArchivedWal, AnOutageOfTheArchiveKeepsTheWalAndEndsNoRecovery) {
  start_archiving();
  server_->stop();
  copy_data(dir_.path() / "copy");
  server_->start();
  ASSERT_TRUE(server_->wait_ready());
  fs::rename(archive_, dir_.path() / "away");
  server_->sql("create table t as select generate_series(1, 30000) n");
  auto last = server_->sql("select pg_walfile_name(pg_switch_wal())");
  EXPECT_TRUE(eventually(Millis(60000), [&] {
    return server_->sql("select failed_count from pg_stat_archiver") != "0";
  }));
  EXPECT_TRUE(fs::exists(server_->data() / "pg_wal/archive_status" / (last + ".ready")));
  EXPECT_THAT(server_->log(), HasSubstr("mount it"));
  fs::rename(dir_.path() / "away", archive_);
  archive_all();
  server_->kill();

  // The same outage while a copy recovers stops it instead of promoting it too early.
  fs::rename(archive_, dir_.path() / "away");
  PlainServer copy(dir_.path() / "copy", environment_);
  copy.append(restore_command() + "\narchive_mode = off");
  std::ofstream(copy.data() / "recovery.signal") << "";
  copy.start();
  EXPECT_TRUE(copy.wait_end()) << copy.log();
  EXPECT_TRUE(fs::exists(copy.data() / "recovery.signal"));
  fs::rename(dir_.path() / "away", archive_);
  copy.start();
  ASSERT_TRUE(copy.wait_primary()) << copy.log();
  EXPECT_EQ(copy.sql("select count(*) from t"), "30000");
}

TEST_F(ArchivedWal, AStandbyGoesOnWhenTheArchiveIsGone) {
  start_archiving();
  server_->stop();
  copy_data(dir_.path() / "copy");
  server_->start();
  ASSERT_TRUE(server_->wait_ready());
  server_->sql("create table t as select generate_series(1, 30000) n");
  fs::rename(archive_, dir_.path() / "away");
  PlainServer copy(dir_.path() / "copy", environment_);
  copy.append(restore_command() + "\nprimary_conninfo = '" + server_->conninfo() + "'");
  std::ofstream(copy.data() / "standby.signal") << "";
  copy.start();
  ASSERT_TRUE(copy.wait_ready()) << copy.log();
  EXPECT_TRUE(eventually(Millis(60000), [&] {
    auto rows = ask(copy.conninfo(), "select count(*) from t");
    return rows && rows->at(0).at(0) == "30000";
  })) << copy.log();
}

TEST_F(ArchivedWal, TheCommandsSayWhatIsWrong) {
  start_archiving();
  server_->sql("create table t(n int)");
  archive_all();
  auto missing = pgsteady({"wal-fetch", "0000000100000000000000AA", dir_.path() / "x"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.text, HasSubstr("0000000100000000000000AA is not in"));
  EXPECT_EQ(pgsteady({"wal-fetch", "passwd", dir_.path() / "x"}).exit_code, 2);
  auto push = pgsteady({"wal-push", server_->data() / "postgresql.conf"});
  EXPECT_EQ(push.exit_code, 1);
  EXPECT_THAT(push.text, HasSubstr("hint:"));
  environment_.clear();
  auto nowhere = pgsteady({"wal-push", server_->data() / "pg_wal/000000010000000000000001"});
  EXPECT_EQ(nowhere.exit_code, 1);
  EXPECT_THAT(nowhere.text, HasSubstr("set WALG_FILE_PREFIX"));
}

}  // namespace
}  // namespace pgsteady::testing
