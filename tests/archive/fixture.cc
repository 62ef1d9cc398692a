#include "archive/fixture.h"

#include <fmt/format.h>

namespace pgsteady::testing {

ArchiveTest::ArchiveTest() : programs_(dir_.path()), archive_(dir_.path() / "archive") {
  run_command({"mkdir", archive_});
  environment_ = {"WALG_FILE_PREFIX=" + archive_.string()};
  server_ = std::make_unique<PlainServer>(dir_.path() / "data", environment_);
}

void ArchiveTest::start_archiving(const std::vector<std::string>& init_options) {
  server_->init(init_options);
  server_->append(
      fmt::format("archive_mode = on\narchive_command = '{} wal-push %p'", programs_.pgsteady()));
  server_->start();
  ASSERT_TRUE(server_->wait_ready()) << server_->log();
}

void ArchiveTest::archive_all() {
  auto last = server_->sql("select pg_walfile_name(pg_switch_wal())");
  EXPECT_TRUE(eventually(Millis(60000), [&] {
    return server_->sql("select coalesce(last_archived_wal, '') from pg_stat_archiver") >= last;
  })) << server_->log();
}

CommandOutput ArchiveTest::pgsteady(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), programs_.pgsteady());
  return run_command(arguments, environment_);
}

CommandOutput ArchiveTest::backup() {
  auto environment = environment_;
  for (const auto& variable : {std::string("PGHOST=127.0.0.1"), std::string("PGUSER=postgres"),
                               "PGPORT=" + std::to_string(server_->port())}) {
    environment.push_back(variable);
  }
  return run_command({programs_.pgsteady(), "backup-push", server_->data()}, environment);
}

std::string ArchiveTest::restore_command() const {
  return fmt::format("restore_command = '{} wal-fetch %f %p'", programs_.pgsteady());
}

}  // namespace pgsteady::testing
