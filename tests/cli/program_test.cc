// What the built program says of a configuration and of itself: its exit codes and words, as
// scripts and people meet them. No servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/process.h"

namespace pgsteady {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Program : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = ::testing::TempDir() + "program_test." + std::to_string(::getpid());
    fs::create_directories(directory_ + "/bin");
    std::ofstream(directory_ + "/bin/postgres") << "#!/bin/sh\n";
    fs::permissions(directory_ + "/bin/postgres", fs::perms::owner_all);
  }
  void TearDown() override { fs::remove_all(directory_); }

  static ProcessOutput pgsteady(const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {PGSTEADY_BINARY_DIR "/pgsteady"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    auto ran = run_process(argv, {}, std::chrono::seconds(20));
    if (ran) return *ran;
    ADD_FAILURE() << ran.error().text();
    return {-1, ""};
  }
  std::string file() const { return directory_ + "/node.yml"; }
  // A configuration of seven lines, and those after it.
  ProcessOutput validate(const std::string& more) {
    std::ofstream(file()) << "scope: demo\nname: pg1\netcd3: {host: '127.0.0.1:2379'}\n"
                          << "postgresql:\n  data_dir: " << directory_ << "/data\n"
                          << "  bin_dir: " << directory_ << "/bin\n  listen: 127.0.0.1:5432\n"
                          << more;
    return pgsteady({"run", "--validate-config", file()});
  }
  std::string directory_;
};

TEST_F(Program, AValidConfigurationIsValidAndNothingIsStarted) {
  auto said = validate("");
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(said.output, file() + ": valid\n");
  EXPECT_FALSE(fs::exists(directory_ + "/data"));
  EXPECT_FALSE(fs::exists(directory_ + "/data.pgsteady"));
}

TEST_F(Program, AWrongValueIsToldWithItsLineAndWhatWasExpected) {
  auto said = validate("log: {level: LOUD}\n");
  EXPECT_EQ(said.exit_code, 1);
  EXPECT_THAT(said.output, StartsWith("pgsteady: " + file() + ":8: log.level: 'LOUD', expected "));
  EXPECT_THAT(said.output, HasSubstr("WARNING"));
  EXPECT_THAT(said.output, Not(HasSubstr(": valid")));
}

TEST_F(Program, AnUnknownKeyIsWarnedOfByName) {
  auto said = validate("  listenn: x\n");
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(said.output, "warning: " + file() +
                             ":8: unknown key postgresql.listenn, did you mean "
                             "postgresql.listen?\n" +
                             file() + ": valid\n");
}

TEST_F(Program, ASettingOfTheClusterThatIsOutOfItsBoundsIsRefused) {
  auto said = validate("bootstrap:\n  dcs:\n    ttl: 0\n");
  EXPECT_EQ(said.exit_code, 1);
  EXPECT_THAT(said.output, StartsWith("pgsteady: " + file() + ":10: bootstrap.dcs.ttl: expected "));
}

TEST_F(Program, AFileThatIsNotThereIsNamed) {
  auto said = pgsteady({"run", "--validate-config", file()});
  EXPECT_EQ(said.exit_code, 1);
  EXPECT_THAT(said.output, StartsWith("pgsteady: " + file() + ": cannot read the configuration"));
}

TEST_F(Program, ItsVersion) {
  for (const char* word : {"version", "--version"}) {
    auto said = pgsteady({word});
    EXPECT_EQ(said.exit_code, 0);
    EXPECT_THAT(said.output,
                StartsWith("pgsteady " PGSTEADY_VERSION " (the interfaces of Patroni "));
  }
}

TEST_F(Program, WrongUsageIsTwo) {
  EXPECT_EQ(pgsteady({"run"}).exit_code, 2);
  EXPECT_EQ(pgsteady({"no-such-verb"}).exit_code, 2);
}

}  // namespace
}  // namespace pgsteady
