// What a Server does to files, without a server.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <fstream>

#include "postgres/configuration.h"
#include "postgres/files.h"
#include "postgres/live_server.h"

namespace pgsteady::pg::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class ServerFiles : public ::testing::Test {
 protected:
  ServerFiles() {
    data = server.settings().data_dir;
    std::filesystem::create_directories(data + "/global");
    EXPECT_TRUE(write_file(data + "/PG_VERSION", "15\n", 0600));
  }
  mode_t mode_of(const std::string& path) {
    struct stat found {};
    stat(path.c_str(), &found);
    return found.st_mode & 0777;
  }
  std::string content(const std::string& name) {
    return read_file(data + "/" + name).value_or("-");
  }

  Directory directory;
  boost::asio::io_context loop;
  Server server{loop, settings_in(directory.path, "n1")};
  std::string data;
  Upstream upstream{"n2", {"10.0.0.2", 5432}};
};

TEST_F(ServerFiles, LooksAtTheDataDirectory) {
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::broken);
  ASSERT_TRUE(write_file(data + "/PG_VERSION", "15\n", 0600));
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::broken);
  ASSERT_TRUE(write_file(data + "/global/pg_control", "x", 0600));
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::valid);
  for (const char* name : {"/PG_VERSION", "/global/pg_control"}) {  // ELOOP, as any other trouble
    std::filesystem::rename(data + name, data + "/aside");
    std::filesystem::create_symlink(data + name, data + name);
    EXPECT_EQ(server.look_at_data_directory(), DataDirectory::unknown) << name;
    EXPECT_FALSE(run(loop, server.clear_data_directory("a test", false)));
    std::filesystem::rename(data + "/aside", data + name);
  }
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::valid);
  ASSERT_TRUE(run(loop, server.clear_data_directory("a test", false)));
  EXPECT_TRUE(std::filesystem::exists(data));
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::empty);
  std::filesystem::create_directory(data + "/lost+found");
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::empty);
  std::filesystem::remove_all(data);
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::empty);
}

TEST_F(ServerFiles, KeepsWalWithoutAControlFileUnlessItIsOfAnUnfinishedClone) {
  const std::string history = "00000002.history";
  const auto kept = server.settings().state_dir + "/diverged/n1/unreadable/" + history;
  for (bool unfinished : {true, false}) {
    std::filesystem::create_directories(data + "/pg_wal");
    ASSERT_TRUE(write_file(data + "/PG_VERSION", "15\n", 0600));
    ASSERT_TRUE(write_file(data + "/pg_wal/" + history, "one\n", 0600));
    auto cleared = run(loop, server.clear_data_directory("a test", unfinished));
    ASSERT_TRUE(cleared) << cleared.error().text();
    EXPECT_EQ(std::filesystem::exists(kept), !unfinished);
  }
}

TEST_F(ServerFiles, WritesNothingWhereThereIsNoDataDirectory) {
  std::filesystem::remove_all(data);
  std::filesystem::create_directories(data);
  EXPECT_FALSE(server.write_configuration({}, false, std::nullopt));
  EXPECT_EQ(server.look_at_data_directory(), DataDirectory::empty);
}

TEST_F(ServerFiles, KeepsTheOriginalConfiguration) {
  ASSERT_TRUE(write_file(data + "/postgresql.conf", "work_mem = 1\n", 0600));
  EXPECT_TRUE(*server.write_configuration({}, false, std::nullopt));
  EXPECT_EQ(content("postgresql.base.conf"), "work_mem = 1\n");
  EXPECT_TRUE(content("postgresql.conf").starts_with(kGeneratedLine));
  EXPECT_FALSE(*server.write_configuration({}, false, std::nullopt));
  EXPECT_EQ(content("postgresql.base.conf"), "work_mem = 1\n");
  // As after a rewind: our own file without its base.
  std::filesystem::remove(data + "/postgresql.base.conf");
  ASSERT_TRUE(server.write_configuration({}, false, std::nullopt));
  EXPECT_EQ(content("postgresql.base.conf"), "# empty\n");
}

TEST_F(ServerFiles, SettingsThatAreNotKnownYetStayAsTheyWere) {
  boost::json::object parameters = {{"work_mem", "7MB"}, {"max_connections", 33}};
  ASSERT_TRUE(server.write_configuration({{{"parameters", parameters}}}, false, std::nullopt));
  auto written = content("postgresql.conf");
  EXPECT_THAT(written, HasSubstr("work_mem = '7MB'"));
  Server next(loop, server.settings());
  EXPECT_FALSE(*next.write_configuration(std::nullopt, false, std::nullopt));
  EXPECT_EQ(content("postgresql.conf"), written);
  EXPECT_THAT(next.start_command().argv, Contains(HasSubstr("max_connections=33")));
  ASSERT_TRUE(write_file(server.settings().state_dir + "/cluster.json", "{\"para", 0600));
  Server other(loop, server.settings());
  EXPECT_EQ(other.write_configuration(std::nullopt, false, std::nullopt).error().kind,
            ErrorKind::corrupt);
  EXPECT_EQ(content("postgresql.conf"), written);
  ASSERT_TRUE(other.forget_cluster());
  EXPECT_TRUE(*other.write_configuration(std::nullopt, false, std::nullopt));
  EXPECT_THAT(content("postgresql.conf"), Not(HasSubstr("7MB")));
}

TEST_F(ServerFiles, SignalsSayWhatTheServerIs) {
  ASSERT_TRUE(write_file(data + "/recovery.signal", "", 0600));
  EXPECT_TRUE(*server.write_configuration({}, true, upstream));
  EXPECT_TRUE(std::filesystem::exists(data + "/standby.signal"));
  EXPECT_FALSE(std::filesystem::exists(data + "/recovery.signal"));
  EXPECT_FALSE(*server.write_configuration({}, true, upstream));
  EXPECT_TRUE(*server.write_configuration({}, true, std::nullopt));
  EXPECT_TRUE(*server.write_configuration({}, false, std::nullopt));
  EXPECT_FALSE(std::filesystem::exists(data + "/standby.signal"));
}

// Each replacement of a file costs two fsyncs.
TEST_F(ServerFiles, ThePromoteFileIsMadeOnce) {
  ASSERT_TRUE(server.write_promote_file());
  EXPECT_EQ(content("promote"), "");
  EXPECT_EQ(mode_of(data + "/promote"), 0600u);
  std::filesystem::create_hard_link(data + "/promote", data + "/the same");
  ASSERT_TRUE(server.write_promote_file());
  EXPECT_TRUE(std::filesystem::equivalent(data + "/promote", data + "/the same"));
}

TEST_F(ServerFiles, PasswordsStandInPrivateFilesOnly) {
  ASSERT_TRUE(server.write_configuration({}, true, upstream));
  const auto& path = server.settings().pgpass_path;
  EXPECT_EQ(mode_of(path), 0600u);
  EXPECT_EQ(read_file(path).value(),
            "10.0.0.2:5432:*:replicator:rep\\:li\\\\cation\n10.0.0.2:5432:*:rewinder:rewinding\n");
  ASSERT_TRUE(server.write_pgpass({{"::1", 1}}));  // the older one is still in use
  EXPECT_THAT(read_file(path).value(), HasSubstr("10.0.0.2:5432:"));
  EXPECT_THAT(read_file(path).value(), HasSubstr("\\:\\:1:1:*:"));

  const auto initdb = server.initdb_command();
  const auto secret = server.settings().state_dir + "/initdb.password";
  EXPECT_EQ(mode_of(secret), 0600u);
  EXPECT_EQ(read_file(secret).value(), "super 'secret'\n");
  for (const auto& command : {initdb, server.start_command(), server.basebackup_command(upstream),
                              server.rewind_command(upstream)}) {
    for (const auto& text : command.argv) {
      EXPECT_EQ(text.find("secret"), std::string::npos) << text;
      EXPECT_EQ(text.find("rep:li"), std::string::npos) << text;
      EXPECT_EQ(text.find("rewinding"), std::string::npos) << text;
    }
  }
  EXPECT_THAT(initdb.argv, Contains("--username=root user"));
  ASSERT_TRUE(server.clear_job_marker());
  EXPECT_FALSE(std::filesystem::exists(secret));
}

TEST_F(ServerFiles, JobMarkerStaysUntilItIsCleared) {
  EXPECT_FALSE(server.interrupted_job());
  ASSERT_TRUE(server.set_job_marker("clone"));
  EXPECT_EQ(server.interrupted_job(), "clone");
  Server restarted(loop, server.settings());
  EXPECT_EQ(restarted.interrupted_job(), "clone");
  ASSERT_TRUE(restarted.clear_job_marker());
  EXPECT_FALSE(server.interrupted_job());
  EXPECT_TRUE(server.clear_job_marker());
}

TEST_F(ServerFiles, StartForcesWhatMustBeEqual) {
  boost::json::object cluster = {{"parameters", {{"max_connections", 33}}}};
  ASSERT_TRUE(server.write_configuration(cluster, false, std::nullopt));
  const auto command = server.start_command();
  EXPECT_EQ(command.argv[0], server.settings().bin_dir + "/postgres");
  EXPECT_THAT(command.argv, Contains("--max_connections=33"));
  EXPECT_THAT(command.argv, Contains("--cluster_name=demo"));
  EXPECT_THAT(command.argv, Contains("--wal_level=replica"));
}

TEST_F(ServerFiles, ClearingReachesTablespacesAndRefusesALiveServer) {
  const auto elsewhere = directory.path + "/space";
  std::filesystem::create_directories(elsewhere + "/PG_15_202209061/1");
  std::filesystem::create_directories(elsewhere + "/not ours");
  std::filesystem::create_directories(data + "/pg_tblspc");
  std::filesystem::create_symlink(elsewhere, data + "/pg_tblspc/16400");
  std::filesystem::create_symlink("/nowhere", data + "/pg_wal");
  const pid_t child = fork();
  if (child == 0) {  // works inside the data directory, as a postmaster does
    if (chdir(data.c_str()) == 0) pause();
    _exit(1);
  }
  while (std::filesystem::read_symlink(fmt::format("/proc/{}/cwd", child)) != data) usleep(1000);
  ASSERT_TRUE(write_file(data + "/postmaster.pid", std::to_string(child) + "\nx\n", 0600));
  EXPECT_FALSE(run(loop, server.clear_data_directory("a test", false)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  // The number lives again, as somebody else.
  ASSERT_TRUE(write_file(data + "/postmaster.pid", std::to_string(getpid()) + "\nx\n", 0600));
  ASSERT_TRUE(run(loop, server.clear_data_directory("a test", false)));
  EXPECT_TRUE(std::filesystem::is_empty(data));
  EXPECT_FALSE(std::filesystem::exists(elsewhere + "/PG_15_202209061"));
  EXPECT_TRUE(std::filesystem::exists(elsewhere + "/not ours"));
}

TEST_F(ServerFiles, KeepsWalBesideTheLoopAndOnlyOnce) {
  auto settings = server.settings();
  settings.bin_dir = directory.path;
  ASSERT_TRUE(write_file(directory.path + "/pg_controldata", R"(#!/bin/sh
sleep 0.3
echo 'Database system identifier: 7
Database cluster state: in production
Latest checkpoint location: 0/3000028
Latest checkpoint'"'"'s TimeLineID: 2
Minimum recovery ending location: 0/0
Min recovery ending loc'"'"'s timeline: 0
Backup start location: 0/0
'
)",
                         0755));
  Server other(loop, settings);
  const auto history = data + "/pg_wal/00000002.history";
  std::filesystem::create_directories(data + "/pg_wal");
  ASSERT_TRUE(write_file(history, "one\n", 0600));
  boost::asio::steady_timer timer(loop, 100ms);
  bool ticked = false;
  timer.async_wait([&](boost::system::error_code) { ticked = true; });
  ASSERT_TRUE(run(loop, other.keep_diverged_wal("a test", std::nullopt)));
  EXPECT_TRUE(ticked);
  const auto kept = settings.state_dir + "/diverged/n1/2-0_3000028/00000002.history";
  EXPECT_EQ(read_file(kept).value(), "one\n");

  // What is there is whole and is left as it is.
  ASSERT_TRUE(write_file(kept + ".part", "o", 0600));
  const auto whole = std::filesystem::last_write_time(kept);
  { std::ofstream(kept) << "own\n"; }
  std::filesystem::last_write_time(kept, whole);
  ASSERT_TRUE(run(loop, other.keep_diverged_wal("a test", std::nullopt)));
  EXPECT_EQ(read_file(kept).value(), "own\n");
  EXPECT_FALSE(std::filesystem::exists(kept + ".later"));

  // A rewind that broke off in the middle wrote over the original: that is not what was to be kept.
  { std::ofstream(history) << "the source's\n"; }
  ASSERT_TRUE(write_file(data + "/global/pg_control", "x", 0600));
  ASSERT_TRUE(run(loop, other.clear_data_directory("a test", true)));
  EXPECT_EQ(read_file(kept).value(), "own\n");
  EXPECT_EQ(read_file(kept + ".later").value(), "the source's\n");
}

}  // namespace
}  // namespace pgsteady::pg::testing
