// A server that archives into a directory, and the program that it calls.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "archive/server.h"

namespace pgsteady::testing {

class ArchiveTest : public ::testing::Test {
 protected:
  ArchiveTest();

  // initdb, archive_mode on, started.
  void start_archiving(const std::vector<std::string>& init_options = {});
  // All WAL up to now is in the archive.
  void archive_all();
  CommandOutput pgsteady(std::vector<std::string> arguments);
  CommandOutput backup();  // backup-push of the running server
  std::string restore_command() const;

  TempDir dir_;
  Programs programs_;
  std::filesystem::path archive_;
  std::vector<std::string> environment_;
  std::unique_ptr<PlainServer> server_;
};

}  // namespace pgsteady::testing
