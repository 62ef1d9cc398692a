// The real guardian with servers that are shell scripts: the protocol and what happens to
// processes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>

#include "base/process.h"
#include "guard/guardian_harness.h"

namespace pgsteady::guard {
namespace {

Command shell(const std::string& script) {
  return {{"/bin/sh", "-c", script}, {}};
}

// A server with processes in its session, in a session of its own, and orphaned ones.
Command fake_server() {
  return shell(
      "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; "
      "trap '' INT TERM; while :; do sleep 1000; done");
}

std::vector<Process> server_processes(RunningGuardian& guardian) {
  std::vector<Process> found;
  for (auto& process : descendants(guardian.pid())) {
    bool is_log_writer = process.name == "pgsteady-log";
    if (process.pid != guardian.agent_pid() && !is_log_writer) found.push_back(process);
  }
  return found;
}

std::vector<Process> started(RunningGuardian& guardian, const Command& command, bool as_primary) {
  EXPECT_TRUE(guardian.agent().start_server(command, as_primary));
  guardian.expect(Kind::server_started);
  EXPECT_TRUE(eventually([&] { return server_processes(guardian).size() >= 6; }));
  return server_processes(guardian);
}

TEST(GuardProcess, KillsEverythingWhenTheDeadlinePassesAndNotBefore) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(3));
  auto processes = started(guardian, fake_server(), true);
  auto first = now() + seconds(3);
  while (now() < first + seconds(1)) {
    guardian.arm(kEpoch, seconds(3));
    std::this_thread::sleep_for(milliseconds(300));
  }
  for (const auto& process : processes) EXPECT_TRUE(exists(process)) << process.command;
  auto deadline = guardian.arm(kEpoch, seconds(1)).deadline;
  auto ended = guardian.expect(Kind::server_exited);
  EXPECT_GE(now(), deadline);
  EXPECT_TRUE(ended.fenced);
  EXPECT_EQ(ended.phase, ServerPhase::none);
  EXPECT_TRUE(none_exists(processes));
  ASSERT_TRUE(guardian.agent().arm(kEpoch, now() + seconds(1), seconds(5)));
  EXPECT_EQ(guardian.expect(Kind::refused).code, static_cast<int>(Kind::arm));
  guardian.arm({78, 11}, seconds(3));
}

TEST(GuardProcess, ASuspendedServerOutlivesItsDeadlineAndItsAgent) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(1));
  auto processes = started(guardian, fake_server(), true);
  ASSERT_TRUE(guardian.agent().suspend());
  EXPECT_TRUE(eventually([&] { return guardian.expect(Kind::status).suspended; }));
  kill(guardian.agent_pid(), SIGKILL);
  EXPECT_TRUE(guardian.next_agent().suspended);
  std::this_thread::sleep_for(seconds(2));
  for (const auto& process : processes) EXPECT_TRUE(exists(process)) << process.command;
  ASSERT_TRUE(guardian.agent().resume());
  EXPECT_TRUE(guardian.expect(Kind::server_exited).fenced);
  EXPECT_TRUE(none_exists(processes));
}

TEST(GuardProcess, RefusesOldEpochsAndFarDeadlines) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(60));
  ASSERT_TRUE(guardian.agent().arm({77, 9}, now() + seconds(1), seconds(5)));
  EXPECT_EQ(guardian.expect(Kind::refused).text, "a later epoch is armed");
  ASSERT_TRUE(guardian.agent().arm(kEpoch, now() + seconds(6), seconds(5)));
  EXPECT_EQ(guardian.expect(Kind::refused).text, "the deadline lies beyond now + ttl");
}

TEST(GuardProcess, ASupersededAgentIsNotHeard) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(60));
  auto old = guardian.agent_connection();
  kill(guardian.agent_pid(), SIGKILL);
  auto status = guardian.next_agent();
  EXPECT_EQ(status.epoch, kEpoch);
  auto sent = old->arm({99, 99}, now() + seconds(1), seconds(5));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind, ErrorKind::fatal);
}

TEST(GuardProcess, AFrozenAgentIsReplacedAndTheServerRunsOn) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(60));
  auto processes = started(guardian, fake_server(), true);
  auto frozen = guardian.agent_pid();
  kill(frozen, SIGSTOP);
  // Armed with so long a ttl it may be silent for long; a short one of a new epoch is no matter
  // here.
  ASSERT_TRUE(guardian.agent().arm(kEpoch, now() + seconds(1), seconds(3)));
  auto status = guardian.next_agent();
  EXPECT_NE(guardian.agent_pid(), frozen);
  EXPECT_EQ(status.phase, ServerPhase::running);
  EXPECT_TRUE(status.as_primary);
  for (const auto& process : processes) EXPECT_TRUE(exists(process)) << process.command;
}

TEST(GuardProcess, AStopThatIsIgnoredEndsInAKill) {
  RunningGuardian guardian;
  guardian.next_agent();
  auto processes = started(guardian, fake_server(), false);
  ASSERT_TRUE(guardian.agent().stop_server(StopMode::fast, milliseconds(500)));
  EXPECT_TRUE(guardian.expect(Kind::server_exited).fenced);
  EXPECT_TRUE(none_exists(processes));
}

TEST(GuardProcess, FencesOnDemandWithoutAnyoneReadingItsLog) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  char fill[4096] = {};
  while (write(ends[1], fill, sizeof fill) > 0) {
  }
  fcntl(ends[1], F_SETFL, 0);
  RunningGuardian guardian({.standard_error = ends[1]});
  guardian.next_agent();
  auto processes = started(guardian, fake_server(), false);
  ASSERT_TRUE(guardian.agent().fence());
  guardian.expect(Kind::server_exited);
  EXPECT_TRUE(none_exists(processes));
  close(ends[0]);
  close(ends[1]);
}

void send_garbage(RunningGuardian& guardian, int packets) {
  const std::string garbage(1, '\x5a');
  auto sent = [&] { return send(guardian.agent().fd(), garbage.data(), garbage.size(), 0) > 0; };
  for (int i = 0; i < packets; ++i) ASSERT_TRUE(eventually(sent));
}

// The writer that stands still is one whose disk hangs. Each packet makes a line: more of them than
// the pipe and the guardian's memory take.
TEST(GuardProcess, FencesWhileItsLogCannotBeWritten) {
  RunningGuardian guardian;
  guardian.next_agent();
  auto writer = guardian.log_writer();
  kill(writer.pid, SIGSTOP);
  send_garbage(guardian, 3000);
  auto processes = started(guardian, fake_server(), false);
  ASSERT_TRUE(guardian.agent().fence());
  guardian.expect(Kind::server_exited);
  EXPECT_TRUE(none_exists(processes));
  ASSERT_TRUE(exists(writer)) << "taken for what is left of the server";
  kill(writer.pid, SIGCONT);
  EXPECT_TRUE(eventually(
      [&] { return guardian.log().find("lines of this log were dropped") != std::string::npos; }));
}

TEST(GuardProcess, ItsLogIsWholeWhenItEnds) {
  RunningGuardian guardian;
  guardian.next_agent();
  auto writer = guardian.log_writer();
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) kill(writer.pid, signal);
  send_garbage(guardian, 500);
  guardian.signal(SIGTERM);
  guardian.expect(Kind::stop);
  ASSERT_TRUE(guardian.agent().finished(0));
  guardian.agent_exits(0);
  ASSERT_TRUE(guardian.exit_status());
  EXPECT_FALSE(exists(writer));
  auto log = guardian.log();
  EXPECT_NE(log.find("guardian ends with exit code 0\n"), std::string::npos);
  EXPECT_EQ(log.find("dropped"), std::string::npos);
}

TEST(GuardProcess, EndsThoughItsLogCannotBeWritten) {
  RunningGuardian guardian({.options = {"--stop-limit", "100"}});
  guardian.next_agent();
  auto writer = guardian.log_writer();
  kill(writer.pid, SIGSTOP);
  guardian.signal(SIGTERM);
  EXPECT_TRUE(guardian.exit_status());
  kill(writer.pid, SIGCONT);
  EXPECT_TRUE(eventually([&] { return !exists(writer); }));
}

// Nobody else's files stay open, and nobody reads the agent's passwords, through this process.
TEST(GuardProcess, TheWriterOfItsLogKeepsNothingElse) {
  if (geteuid() != 0) GTEST_SKIP() << "only root sees the descriptors";
  RunningGuardian guardian;
  guardian.next_agent();
  auto path = "/proc/" + std::to_string(guardian.log_writer().pid);
  auto open = [&] {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path + "/fd")) {
      found.insert(entry.path().filename());
    }
    return found;
  };
  EXPECT_TRUE(eventually([&] { return open() == std::set<std::string>{"0", "2"}; }));
  struct stat its_memory {};
  ASSERT_EQ(stat((path + "/environ").c_str(), &its_memory), 0);
  EXPECT_EQ(its_memory.st_uid, 0u);
}

TEST(GuardProcess, TellsOfAServerThatCannotBeRun) {
  RunningGuardian guardian;
  guardian.next_agent();
  ASSERT_TRUE(guardian.agent().start_server({{"/no/such/server"}, {}}, false));
  auto ended = guardian.expect(Kind::server_exited);
  EXPECT_EQ(WEXITSTATUS(ended.code), 127);
  EXPECT_FALSE(ended.fenced);
  EXPECT_TRUE(
      eventually([&] { return guardian.log().find("/no/such/server") != std::string::npos; }));
}

TEST(GuardProcess, GivesChildrenTheirEnvironmentAndNoDescriptors) {
  RunningGuardian guardian;
  guardian.next_agent();
  auto output = guardian.directory() / "output";
  auto command = shell("echo $GREETING $PGSTEADY_GUARD_FD; ls /proc/self/fd | tail -n +5; exit 3");
  command.environment = {"GREETING=hello"};
  ASSERT_TRUE(guardian.agent().run_job(5, command, output, seconds(30)));
  auto ended = guardian.expect(Kind::job_exited);
  EXPECT_EQ(ended.job, 5);
  EXPECT_EQ(WEXITSTATUS(ended.code), 3);
  std::ifstream file(output);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_EQ(text, "hello\n");
  EXPECT_EQ(std::filesystem::status(output).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(GuardProcess, OnlyTheAgentSeesPasswords) {
  const std::vector<std::string> names = {"PATRONI_SUPERUSER_PASSWORD", "PGPASSWORD"};
  for (const auto& name : names) setenv(name.c_str(), "a-secret", 1);
  setenv("PGSTEADY_TEST_PLAIN", "a-plain-word", 1);
  RunningGuardian guardian;
  guardian.next_agent();
  for (const auto& name : names) unsetenv(name.c_str());
  unsetenv("PGSTEADY_TEST_PLAIN");
  const auto text_of = [](const std::string& path) {
    std::ifstream file(path);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  struct stat its_memory {};
  ASSERT_EQ(stat(("/proc/" + std::to_string(guardian.pid()) + "/environ").c_str(), &its_memory), 0);
  EXPECT_EQ(its_memory.st_uid, 0u) << "other programs of its user may read the guardian's memory";

  const auto agents = text_of("/proc/" + std::to_string(guardian.agent_pid()) + "/environ");
  for (const auto& name : names) EXPECT_NE(agents.find(name + "=a-secret"), std::string::npos);

  auto of_job = guardian.directory() / "output";
  ASSERT_TRUE(guardian.agent().run_job(5, shell("env"), of_job, seconds(30)));
  guardian.expect(Kind::job_exited);
  auto of_server = guardian.directory() / "server";
  ASSERT_TRUE(guardian.agent().start_server(shell("env > " + of_server), false));
  guardian.expect(Kind::server_exited);
  for (const auto& path : {of_job, of_server}) {
    EXPECT_NE(text_of(path).find("a-plain-word"), std::string::npos) << path;
    EXPECT_EQ(text_of(path).find("a-secret"), std::string::npos) << path;
  }
}

TEST(GuardProcess, AJobsProcessesEndWithIt) {
  RunningGuardian guardian;
  guardian.next_agent();
  auto output = guardian.directory() / "output";
  ASSERT_TRUE(guardian.agent().run_job(5, shell("sleep 1000 & sleep 1000"), output, seconds(30)));
  ASSERT_TRUE(eventually([&] { return server_processes(guardian).size() >= 3; }));
  auto processes = server_processes(guardian);
  ASSERT_TRUE(guardian.agent().kill_job(5));
  guardian.expect(Kind::job_exited);
  EXPECT_TRUE(eventually([&] { return none_exists(processes); }));
}

TEST(GuardProcess, AKilledServerLeavesRunningJobsAlone) {
  RunningGuardian guardian;
  guardian.next_agent();
  auto output = guardian.directory() / "output";
  ASSERT_TRUE(guardian.agent().run_job(5, shell("sleep 1000; :"), output, seconds(600)));
  ASSERT_TRUE(eventually([&] { return server_processes(guardian).size() == 2; }));
  auto job = server_processes(guardian);
  started(guardian, fake_server(), false);
  ASSERT_TRUE(guardian.agent().fence());
  guardian.expect(Kind::server_exited);
  for (const auto& process : job) EXPECT_TRUE(exists(process)) << process.command;
}

TEST(GuardProcess, RefusesGarbageAndGoesOn) {
  RunningGuardian guardian;
  guardian.next_agent();
  for (std::size_t bytes : {1u, 88u, 500u, 70000u}) {
    std::string garbage(bytes, '\x5a');
    ASSERT_GT(send(guardian.agent().fd(), garbage.data(), garbage.size(), 0), 0);
  }
  guardian.arm(kEpoch, seconds(60));
  EXPECT_TRUE(eventually([&] { return guardian.log().find("packet") != std::string::npos; }));
}

TEST(GuardProcess, HandsOverAtSigtermAndExitsWithTheAgentsCode) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.signal(SIGTERM);
  auto stop = guardian.expect(Kind::stop);
  EXPECT_GT(stop.deadline, now());
  ASSERT_TRUE(guardian.agent().finished(3));
  guardian.agent_exits(3);
  auto status = guardian.exit_status();
  ASSERT_TRUE(status);
  EXPECT_EQ(WEXITSTATUS(*status), 3);
}

TEST(GuardProcess, EndsByItselfWhenTheAgentDoesNotHandOver) {
  RunningGuardian guardian({.options = {"--stop-limit", "300"}});
  guardian.next_agent();
  auto processes = started(guardian, fake_server(), false);
  guardian.signal(SIGTERM);
  auto status = guardian.exit_status();
  ASSERT_TRUE(status);
  EXPECT_EQ(WEXITSTATUS(*status), 1);
  EXPECT_TRUE(none_exists(processes));
}

TEST(GuardProcess, PassesAReloadOn) {
  RunningGuardian guardian;
  guardian.next_agent();
  guardian.signal(SIGHUP);
  guardian.expect(Kind::reload);
}

TEST(GuardProcess, ASecondGuardianIsRefused) {
  TestDirectory directory;
  auto lock = directory / "lock";
  RunningGuardian guardian({.options = {"--lock", lock}});
  guardian.next_agent();
  auto second = as_server_user();
  for (const auto& word : {guardian.directory() / "pgsteady-guard", std::string("--lock"), lock,
                           std::string("--"), guardian.directory() / "agent"}) {
    second.push_back(word);
  }
  auto result = run_process(second, {}, kPatience);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_code, 1);
  EXPECT_NE(result->output.find("another guardian holds " + lock), std::string::npos);
  EXPECT_NE(result->output.find("process " + std::to_string(guardian.pid())), std::string::npos);
  EXPECT_NE(result->output.find("hint: "), std::string::npos);
}

TEST(GuardProcess, SaysThatItIsNotLockedInMemoryAndGoesOn) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the address sanitizer makes mlockall do nothing";
#endif
  RunningGuardian guardian({.memory_lock_limit = 0});
  guardian.next_agent();
  EXPECT_TRUE(
      eventually([&] { return guardian.log().find("not locked in memory") != std::string::npos; }));
  guardian.arm(kEpoch, seconds(60));
}

TEST(GuardProcess, ExplainsItsUse) {
  auto result =
      run_process({PGSTEADY_GUARD, "--stop-limit", "soon", "--", "/bin/true"}, {}, kPatience);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_code, 2);
  EXPECT_NE(result->output.find("\"soon\""), std::string::npos);
  EXPECT_NE(result->output.find("usage:"), std::string::npos);
}

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A file in the place of the device: what is written to it stays to be seen.
struct FakeDevice {
  TestDirectory directory;
  std::string path = directory / "watchdog";
  FakeDevice() {
    std::ofstream made(path);
    chmod(path.c_str(), 0666);
  }
  GuardianSetup setup(const char* mode) const {
    return {{"--watchdog", mode, "--watchdog-device", path}};
  }
};

TEST(GuardWatchdog, IsFedWhileArmedAndClosedWithTheMagicLetter) {
  FakeDevice device;
  RunningGuardian guardian(device.setup("automatic"));
  guardian.next_agent();
  EXPECT_EQ(content_of(device.path), "");
  guardian.arm(kEpoch, seconds(5));
  EXPECT_TRUE(eventually([&] { return content_of(device.path).size() >= 3; }));
  ASSERT_TRUE(guardian.agent().disarm(kEpoch));
  EXPECT_TRUE(eventually([&] { return content_of(device.path).ends_with("V"); }));
  auto fed = content_of(device.path);
  EXPECT_EQ(fed, std::string(fed.size() - 1, '1') + "V");
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(content_of(device.path), fed) << "fed while nothing is armed";
  EXPECT_NE(guardian.log().find("its timeout cannot be set"), std::string::npos);
}

// How long its timeout may be is tested in lease/watchdog_test.cc.
TEST(GuardWatchdog, IsFedNoMoreOnceTheDeadlineHasPassed) {
  FakeDevice device;
  RunningGuardian guardian(device.setup("automatic"));
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(1));
  EXPECT_TRUE(eventually([&] { return content_of(device.path).ends_with("V"); }));
  auto fed = content_of(device.path);
  EXPECT_GE(fed.size(), 4u);
  std::this_thread::sleep_for(milliseconds(600));
  EXPECT_EQ(content_of(device.path), fed);
}

// A guardian that is told to end, and whose agent does not hand over.
TEST(GuardWatchdog, IsClosedWhenTheGuardianEnds) {
  FakeDevice device;
  auto setup = device.setup("automatic");
  setup.options.insert(setup.options.end(), {"--stop-limit", "300"});
  RunningGuardian guardian(setup);
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(60));
  started(guardian, fake_server(), true);
  guardian.signal(SIGTERM);
  ASSERT_TRUE(guardian.exit_status());
  EXPECT_TRUE(content_of(device.path).ends_with("V"));
}

TEST(GuardWatchdog, IsClosedWhileTheDeadlineIsSuspended) {
  FakeDevice device;
  RunningGuardian guardian(device.setup("automatic"));
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(5));
  EXPECT_TRUE(eventually([&] { return !content_of(device.path).empty(); }));
  ASSERT_TRUE(guardian.agent().suspend());
  EXPECT_TRUE(eventually([&] { return content_of(device.path).ends_with("V"); }));
  std::ofstream emptied(device.path);
  guardian.arm(kEpoch, seconds(5));
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(content_of(device.path), "") << "opened for an arming while suspended";
  ASSERT_TRUE(guardian.agent().resume());
  EXPECT_TRUE(eventually([&] { return content_of(device.path).starts_with("1"); }));
}

TEST(GuardWatchdog, StaysOpenWhenTheGuardianIsKilled) {
  FakeDevice device;
  RunningGuardian guardian(device.setup("automatic"));
  guardian.next_agent();
  guardian.arm(kEpoch, seconds(5));
  EXPECT_TRUE(eventually([&] { return !content_of(device.path).empty(); }));
  guardian.signal(SIGKILL);
  ASSERT_TRUE(guardian.exit_status());
  EXPECT_EQ(content_of(device.path).find('V'), std::string::npos);
}

TEST(GuardWatchdog, WhatIsRequiredAndDoesNotWorkArmsNothing) {
  FakeDevice device;
  RunningGuardian guardian(device.setup("required"));
  EXPECT_FALSE(guardian.next_agent().watchdog_failed) << "the file is there";
  ASSERT_TRUE(guardian.agent().arm(kEpoch, now() + seconds(3), seconds(5)));
  EXPECT_EQ(guardian.expect(Kind::refused).text, "the watchdog is required and does not work");
  RunningGuardian without({{"--watchdog", "required", "--watchdog-device", "/nowhere/watchdog"}});
  EXPECT_TRUE(without.next_agent().watchdog_failed);
  RunningGuardian automatic(
      {{"--watchdog", "automatic", "--watchdog-device", "/nowhere/watchdog"}});
  automatic.next_agent();
  automatic.arm(kEpoch, seconds(3));
}

}  // namespace
}  // namespace pgsteady::guard
