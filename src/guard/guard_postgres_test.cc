// The real guardian over a real PostgreSQL: what happens to sessions and to processes.
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sys/wait.h>
#include <csignal>

#include "base/process.h"
#include "base/shared_memory.h"
#include "guard/guardian_harness.h"

namespace pgsteady::guard {
namespace {

std::string server_program(const std::string& name) {
  return "/usr/lib/postgresql/15/bin/" + name;
}

class Session {
 public:
  explicit Session(const std::string& directory) {
    auto conninfo =
        "host=" + directory + " port=5432 user=postgres dbname=postgres connect_timeout=5";
    eventually([&] {
      connection_.reset(PQconnectdb(conninfo.c_str()));
      return PQstatus(connection_.get()) == CONNECTION_OK;
    });
  }
  bool open() const { return PQstatus(connection_.get()) == CONNECTION_OK; }
  // The first value, or the error.
  std::string ask(const std::string& sql) {
    std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection_.get(), sql.c_str()),
                                                         PQclear);
    auto status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK) return "";
    if (status != PGRES_TUPLES_OK) return PQresultErrorMessage(result.get());
    return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
  }
  void begin(const std::string& sql) { ASSERT_EQ(PQsendQuery(connection_.get(), sql.c_str()), 1); }
  pid_t backend() const { return PQbackendPID(connection_.get()); }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_{nullptr, PQfinish};
};

class GuardPostgres : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    data_ = std::make_unique<TestDirectory>();
    auto words = as_server_user();
    for (const auto& word :
         {server_program("initdb"), std::string("--no-sync"), std::string("--auth=trust"),
          std::string("--username=postgres"), std::string("--pgdata=" + *data_ / "data")}) {
      words.push_back(word);
    }
    auto made = run_process(words, {}, seconds(60));
    ASSERT_TRUE(made) << made.error().text();
    ASSERT_EQ(made->exit_code, 0) << made->output;
  }
  static void TearDownTestSuite() {
    remove_shared_memory(*data_ / "data");
    data_.reset();
  }

  Command server() const {
    return {{server_program("postgres"), "-D", *data_ / "data", "-c", "port=5432", "-c",
             "listen_addresses=", "-c", "unix_socket_directories=" + data_->path(), "-c",
             "fsync=off", "-c", "max_connections=60", "-c", "dynamic_shared_memory_type=mmap"},
            {}};
  }
  void start(RunningGuardian& guardian, bool as_primary = false) {
    guardian.next_agent();
    if (as_primary) guardian.arm(kEpoch, seconds(600));
    ASSERT_TRUE(guardian.agent().start_server(server(), as_primary));
    postmaster_ = guardian.expect(Kind::server_started).pid;
    Session session(data_->path());
    ASSERT_TRUE(session.open());
  }
  Session session() const { return Session(data_->path()); }

  // Sessions that are idle, asleep, computing, and waiting for a program. They never end by
  // themselves.
  std::vector<Session> all_kinds_of_sessions() {
    std::vector<Session> sessions;
    sessions.reserve(8);
    for (int i = 0; i < 8; ++i) sessions.push_back(session());
    for (const auto& s : sessions) EXPECT_TRUE(s.open());
    sessions[1].begin("select pg_sleep(1000)");
    sessions[2].begin("do $$ begin loop end loop; end $$");
    sessions[3].begin("select count(*) from generate_series(1, 1000000000000)");
    sessions[4].begin("copy (select 1) to program 'sleep 1000'");
    sessions[5].begin(
        "copy (select 1) to program 'trap \"\" TERM PIPE; setsid sleep 1000; sleep 1000'");
    EXPECT_TRUE(eventually([&] { return count("sleep 1000") >= 3; }));
    return sessions;
  }
  std::size_t count(const std::string& part) const {
    std::size_t n = 0;
    for (const auto& process : descendants(postmaster_)) {
      n += process.command.find(part) != std::string::npos;
    }
    return n;
  }

  static std::unique_ptr<TestDirectory> data_;
  pid_t postmaster_ = 0;
};

std::unique_ptr<TestDirectory> GuardPostgres::data_;

TEST_F(GuardPostgres, ASessionNeverNoticesFiftyDeathsOfTheAgent) {
  RunningGuardian guardian;
  start(guardian, true);
  auto client = session();
  client.ask("create temporary table counted (n int)");
  for (int i = 0; i < 50; ++i) {
    kill(guardian.agent_pid(), SIGKILL);
    client.ask("insert into counted values (1)");
    auto status = guardian.next_agent();
    ASSERT_EQ(status.phase, ServerPhase::running);
    ASSERT_EQ(status.pid, postmaster_);
    ASSERT_EQ(status.epoch, kEpoch);
    ASSERT_EQ(client.ask("select count(*) from counted"), std::to_string(i + 1));
  }
}

TEST_F(GuardPostgres, ThePassedDeadlineLeavesNothing) {
  RunningGuardian guardian;
  start(guardian);
  auto sessions = all_kinds_of_sessions();
  auto processes = descendants(postmaster_);
  guardian.arm(kEpoch, milliseconds(500));
  auto ended = guardian.expect(Kind::server_exited);
  EXPECT_TRUE(ended.fenced);
  EXPECT_GE(processes.size(), 13u);
  EXPECT_TRUE(none_exists(processes));
  EXPECT_TRUE(eventually([&] { return descendants(guardian.pid()).size() == 2; }))
      << "the agent and the log's writer";
}

TEST_F(GuardPostgres, OrphansOfADeadPostmasterAreGoneBeforeItsEndIsTold) {
  RunningGuardian guardian;
  start(guardian, true);
  auto sessions = all_kinds_of_sessions();
  auto processes = descendants(postmaster_);
  kill(postmaster_, SIGKILL);
  auto ended = guardian.expect(Kind::server_exited);
  EXPECT_FALSE(ended.fenced);
  EXPECT_EQ(WTERMSIG(ended.code), SIGKILL);
  EXPECT_TRUE(none_exists(processes));
  // So it can be started again at once.
  ASSERT_TRUE(guardian.agent().start_server(server(), true));
  postmaster_ = guardian.expect(Kind::server_started).pid;
  EXPECT_TRUE(session().open());
}

TEST_F(GuardPostgres, DiesWithTheGuardian) {
  RunningGuardian guardian;
  start(guardian, true);
  std::vector<Session> sessions;
  sessions.reserve(8);
  for (int i = 0; i < 8; ++i) sessions.push_back(session());
  for (std::size_t i = 0; i < 4; ++i) sessions[i].begin("select pg_sleep(1000)");
  auto processes = descendants(guardian.pid());
  guardian.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return none_exists(processes); }));
}

TEST_F(GuardPostgres, AStopThatHangsEndsInAKill) {
  RunningGuardian guardian;
  start(guardian, true);
  for (const auto& process : descendants(postmaster_)) {
    if (process.command.find("checkpointer") != std::string::npos) kill(process.pid, SIGSTOP);
  }
  auto processes = descendants(postmaster_);
  ASSERT_TRUE(guardian.agent().stop_server(StopMode::fast, seconds(1)));
  EXPECT_TRUE(guardian.expect(Kind::server_exited).fenced);
  EXPECT_TRUE(none_exists(processes));
}

TEST_F(GuardPostgres, AFastStopIsClean) {
  RunningGuardian guardian;
  start(guardian, true);
  auto client = session();
  ASSERT_TRUE(guardian.agent().stop_server(StopMode::fast, kPatience));
  auto ended = guardian.expect(Kind::server_exited);
  EXPECT_FALSE(ended.fenced);
  EXPECT_EQ(ended.code, 0);
  EXPECT_TRUE(guardian.expect(Kind::status).epoch.valid());
  ASSERT_TRUE(guardian.agent().disarm(kEpoch));
  EXPECT_FALSE(guardian.expect(Kind::status).epoch.valid());
}

TEST_F(GuardPostgres, ATerminalsInterruptReachesTheGuardianAlone) {
  RunningGuardian guardian;
  start(guardian, true);
  auto client = session();
  for (const auto& process : descendants(guardian.pid())) {
    EXPECT_NE(getpgid(process.pid), getpgid(guardian.pid())) << process.command;
  }
  guardian.signal(SIGINT);
  guardian.expect(Kind::stop);
  EXPECT_EQ(client.ask("select 1"), "1");
}

// The kernel ends the postmaster with its guardian; the busy ones, and what they started, are its
// heir's.
TEST_F(GuardPostgres, NothingOutlivesAGuardianThatIsKilledAlone) {
  RunningGuardian guardian;
  start(guardian, true);
  auto looping = session(), counting = session();
  looping.begin("do $$ begin loop end loop; end $$");
  counting.begin("select count(*) from generate_series(1, 1000000000000)");
  auto copying = session();
  copying.begin("copy (select 1) to program 'trap \"\" TERM PIPE; setsid sleep 1000; sleep 1000'");
  ASSERT_TRUE(eventually([&] { return count("sleep 1000") >= 2; }));
  auto backends = descendants(postmaster_);
  ASSERT_GE(backends.size(), 4U);
  auto killed = now();
  guardian.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return none_exists(backends); }));
  RecordProperty("milliseconds", static_cast<int>((now() - killed) / milliseconds(1)));
}

}  // namespace
}  // namespace pgsteady::guard
