// Against a real PostgreSQL: a primary, its standby, a promotion, and the way back by pg_rewind.
#include <boost/json/parse.hpp>
#include <set>

#include "postgres/conninfo.h"
#include "postgres/files.h"
#include "postgres/live_server.h"
#include "postgres/titles.h"

namespace pgsteady::pg::testing {

std::string LiveServer::client_conninfo(const Credentials& user) const {
  return conninfo({{"host", "127.0.0.1"},
                   {"port", std::to_string(server.settings().port)},
                   {"user", user.username},
                   {"password", user.password},
                   {"dbname", "postgres"}});
}

namespace {

const boost::json::object kCluster =
    boost::json::parse(
        R"({"parameters": {"max_connections": 50, "fsync": false, "dynamic_shared_memory_type": "mmap",
                           "log_statement": "all", "log_min_duration_statement": 0}})")
        .as_object();

bool is_up(const LocalServer& s) {
  return s.state == ServerState::running;
}
bool is_streaming(const LocalServer& s) {
  return is_up(s) && s.receiver_state == "streaming";
}
bool is_primary(const LocalServer& s) {
  return s.is_primary();
}

std::string text_in(const std::string& directory) {
  std::string all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) all += read_file(entry.path().string()).value_or("");
  }
  return all;
}

class LiveServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (installed_bin_dir().empty()) GTEST_SKIP() << "no PostgreSQL server is installed";
    become_postgres();
    directory.emplace();
  }

  // A fresh primary with its users.
  void make_primary(LiveServer& node) {
    EXPECT_EQ(node.server.look_at_data_directory(), DataDirectory::empty);
    node.do_command(node.server.initdb_command());
    ASSERT_TRUE(node.server.write_configuration(kCluster, false, std::nullopt));
    node.start();
    node.wait_for(is_primary);
    auto users = run(node.loop, node.server.create_users(20s));
    ASSERT_TRUE(users) << users.error().message;
  }

  void make_standby(LiveServer& node, LiveServer& of) {
    auto slots = run(of.loop, of.server.sync_slots({node.server.settings().name}, 20s));
    ASSERT_TRUE(slots) << slots.error().message;
    auto system = run(node.loop, node.server.system_id_of(of.upstream(), 20s));
    ASSERT_TRUE(system) << system.error().message;
    EXPECT_EQ(*system, of.measure().system_id);
    node.do_command(node.server.basebackup_command(of.upstream()));
    ASSERT_TRUE(node.server.write_configuration(kCluster, true, of.upstream()));
    node.start();
    node.wait_for(is_streaming);
  }

  std::optional<Directory> directory;
};

TEST_F(LiveServerTest, BootstrapsAPrimary) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  const auto& settings = node.server.settings();
  const auto now = node.measure();
  EXPECT_FALSE(now.in_recovery);
  EXPECT_EQ(now.timeline, 1u);
  EXPECT_GT(now.write_lsn, Lsn{});
  EXPECT_GE(now.version, 130000);
  EXPECT_TRUE(now.upstream.empty());
  EXPECT_TRUE(now.pending_restart.empty());
  EXPECT_EQ(now.data, DataDirectory::valid);
  ASSERT_TRUE(now.control);
  EXPECT_EQ(now.control->system_id, now.system_id);
  EXPECT_TRUE(now.control->checksums);
  EXPECT_EQ(now.start_time.size(), std::string("2026-11-22 21:31:43.123456+00:00").size());

  // Again: nothing changes, nothing fails.
  auto unchanged = node.server.write_configuration(kCluster, false, std::nullopt);
  ASSERT_TRUE(unchanged);
  EXPECT_FALSE(*unchanged);
  EXPECT_TRUE(run(node.loop, node.server.create_users(20s)));
  EXPECT_TRUE(run(node.loop, node.server.checkpoint(20s)));

  // The users can do what they are for, and not more.
  EXPECT_FALSE(node.sql({"admin", "wrong"}, "SELECT 1"));
  EXPECT_FALSE(node.sql({"admin", ""}, "SELECT 1"));
  const auto admin = settings.users.front().credentials;
  EXPECT_TRUE(node.sql(admin, "CREATE DATABASE made_by_admin"));
  auto rights = node.sql(settings.superuser,
                         "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication"
                         " FROM pg_roles WHERE rolname IN ('admin','replicator','rewinder')"
                         " ORDER BY rolname");
  ASSERT_TRUE(rights) << rights.error().message;
  const auto& rows = rights->front();
  const char* expected[] = {"admin fttf", "replicator ffft", "rewinder ffff"};
  ASSERT_EQ(rows.count(), 3);
  for (int row = 0; row < 3; ++row) {
    std::string line = std::string(rows.text(row, 0)) + " ";
    for (int column = 1; column < 5; ++column) line += rows.text(row, column);
    EXPECT_EQ(line, expected[row]);
  }
  EXPECT_TRUE(node.sql(settings.rewind, "SELECT pg_read_binary_file('PG_VERSION'); CHECKPOINT"));

  // No password, and no verifier, in the logs; none in the data directory's configuration.
  const auto logs = text_in(settings.state_dir);
  EXPECT_NE(logs.find("database system is ready"), std::string::npos);
  for (const std::string secret : {"secret", "rewinding", "SCRAM-SHA-256$"}) {
    EXPECT_EQ(logs.find(secret), std::string::npos) << secret;
    EXPECT_EQ(read_file(settings.data_dir + "/postgresql.conf")->find(secret), std::string::npos);
  }
}

TEST_F(LiveServerTest, TellsStoppedStartingAndHung) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  ASSERT_EQ(kill(node.pid, SIGSTOP), 0);
  EXPECT_EQ(node.measure().state, ServerState::running);  // backends live without the postmaster
  node.stop(SIGKILL);
  EXPECT_EQ(node.measure().state, ServerState::stopped);
  EXPECT_EQ(node.measure().control->state, "in production");
  node.pid = getpid();  // as if the guardian saw a process that accepts nothing yet
  EXPECT_EQ(node.measure().state, ServerState::starting);
  node.pid = 0;
}

TEST_F(LiveServerTest, FrozenServerIsHungAndComesBack) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  auto backend = node.sql(node.server.settings().superuser,
                          "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgsteady'");
  ASSERT_TRUE(backend);
  const auto pid = static_cast<pid_t>(std::stol(std::string(backend->front().text(0, 0))));
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  EXPECT_EQ(run(node.loop, node.server.measure(true, 200ms)).state, ServerState::hung);
  EXPECT_EQ(run(node.loop, node.server.measure(true, 200ms)).state, ServerState::hung);
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  EXPECT_EQ(node.measure().state, ServerState::running);
}

TEST_F(LiveServerTest, AServerThatRefusesOnlyUsIsNotStarting) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  const auto before = node.measure();
  Connection held(node.loop);
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  const auto& superuser = node.server.settings().superuser;
  ASSERT_TRUE(run(node.loop, held.open(node.client_conninfo(superuser), deadline)));
  const auto cut_off = [&] {
    return run(node.loop, held.exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                                    " WHERE application_name = 'pgsteady'",
                                    deadline));
  };
  ASSERT_TRUE(run(node.loop, held.exec("ALTER ROLE \"root user\" NOLOGIN", deadline)));
  ASSERT_TRUE(cut_off());
  for (int i = 0; i < 2; ++i) {
    const auto now = node.measure();
    EXPECT_EQ(now.state, ServerState::running);
    EXPECT_FALSE(now.in_recovery);
    EXPECT_EQ(now.write_lsn, before.write_lsn);
    EXPECT_EQ(now.measured_at, before.measured_at);
  }
  Server restarted(node.loop, node.server.settings());  // knows nothing of it
  EXPECT_EQ(run(node.loop, restarted.measure(true, 5s)).state, ServerState::starting);
  ASSERT_TRUE(run(node.loop, held.exec("ALTER ROLE \"root user\" LOGIN", deadline)));
  EXPECT_GT(node.measure().measured_at, before.measured_at);

  // A smart shutdown waits for the held session, and lets nobody in.
  ASSERT_EQ(kill(node.pid, SIGTERM), 0);
  std::this_thread::sleep_for(500ms);
  ASSERT_TRUE(cut_off());
  EXPECT_EQ(node.measure().state, ServerState::starting);
}

TEST_F(LiveServerTest, TellsThatItStillReplaysItsOwnWal) {
  LiveServer first(directory->path, "n1"), second(directory->path, "n2");
  make_primary(first);
  make_standby(second, first);
  auto delayed = kCluster;
  delayed["parameters"].as_object()["recovery_min_apply_delay"] = "1h";
  ASSERT_TRUE(second.server.write_configuration(delayed, true, first.upstream()));
  kill(second.pid, SIGHUP);
  EXPECT_FALSE(second.measure().replaying);
  std::this_thread::sleep_for(200ms);
  ASSERT_TRUE(first.sql(first.server.settings().superuser, "CREATE TABLE t AS SELECT 1"));
  const auto end = first.measure().write_lsn;
  second.wait_for([&](const LocalServer& s) { return s.receive_lsn >= end; });
  second.stop();
  ASSERT_TRUE(second.server.write_configuration(delayed, true, std::nullopt));
  second.start();
  auto standby = second.wait_for(is_up);
  EXPECT_TRUE(standby.replaying);
  EXPECT_LT(standby.last_lsn(), end);
  ASSERT_TRUE(second.server.write_configuration(kCluster, true, std::nullopt));
  kill(second.pid, SIGHUP);
  standby = second.wait_for([](const LocalServer& s) { return is_up(s) && !s.replaying; });
  EXPECT_GE(standby.last_lsn(), end);
}

TEST_F(LiveServerTest, DropsItsSlotsAsAStandbyToo) {
  LiveServer first(directory->path, "n1"), second(directory->path, "n2");
  make_primary(first);
  make_standby(second, first);
  ASSERT_TRUE(second.sql(second.server.settings().superuser,
                         "SELECT pg_create_physical_replication_slot('a_backup_tool')"));
  ASSERT_TRUE(run(second.loop, second.server.sync_slots({"n1", "n3"}, 20s)));
  EXPECT_EQ(second.measure().slots.size(), 3u);
  auto dropped = run(second.loop, second.server.sync_slots({}, 20s));
  ASSERT_TRUE(dropped) << dropped.error().message;
  const auto standby = second.measure();
  EXPECT_TRUE(standby.in_recovery);
  ASSERT_EQ(standby.slots.size(), 1u);
  EXPECT_EQ(standby.slots[0].name, "a_backup_tool");
}

TEST_F(LiveServerTest, TitlesTellWhatAStandbyReplays) {
  LiveServer first(directory->path, "n1"), second(directory->path, "n2");
  make_primary(first);
  make_standby(second, first);
  ASSERT_TRUE(first.sql(first.server.settings().superuser, "CREATE TABLE streamed ()"));
  second.wait_for([&](const LocalServer&) { return recovery_titles(second.pid).receiving; });
  const auto streaming = recovery_titles(second.pid);
  EXPECT_EQ(streaming.recovering.size(), 16u) << streaming.recovering;
  first.stop();
  second.wait_for([&](const LocalServer&) { return !recovery_titles(second.pid).receiving; });
  EXPECT_EQ(recovery_titles(second.pid).recovering, streaming.recovering);
}

TEST_F(LiveServerTest, ShowsWhatWaitsForARestart) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  auto changed = kCluster;
  changed["parameters"].as_object()["max_connections"] = 60;
  ASSERT_TRUE(*node.server.write_configuration(changed, false, std::nullopt));
  node.wait_for([](const LocalServer& s) { return !s.pending_restart.empty(); });
  node.stop();
  node.start();
  node.wait_for([](const LocalServer& s) { return is_up(s) && s.pending_restart.empty(); });
}

TEST_F(LiveServerTest, SlotsComeAndGoWithTheMembers) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  ASSERT_TRUE(node.sql(node.server.settings().superuser,
                       "SELECT pg_create_physical_replication_slot('a_backup_tool')"));
  const auto names = [&] {
    std::set<std::string> all;
    for (const auto& slot : node.measure().slots) all.insert(slot.name);
    return all;
  };
  ASSERT_TRUE(run(node.loop, node.server.sync_slots({"n1", "N-2", "n3"}, 20s)));
  EXPECT_EQ(names(), (std::set<std::string>{"a_backup_tool", "n3", "n_2"}));
  ASSERT_TRUE(run(node.loop, node.server.sync_slots({"n1", "n3"}, 20s)));
  EXPECT_EQ(names(), (std::set<std::string>{"a_backup_tool", "n3"}));
}

TEST_F(LiveServerTest, StandbyPromotesAndTheOldPrimaryRewinds) {
  LiveServer first(directory->path, "n1"), second(directory->path, "n2");
  make_primary(first);
  make_standby(second, first);
  const auto superuser = first.server.settings().superuser;
  ASSERT_TRUE(first.sql(superuser, "CREATE TABLE t AS SELECT 1 AS x"));
  auto standby = second.wait_for(
      [&](const LocalServer& s) { return s.replay_lsn >= first.measure().write_lsn; });
  EXPECT_TRUE(standby.in_recovery);
  EXPECT_EQ(standby.timeline, 1u);
  EXPECT_EQ(standby.upstream, first.upstream().address.text());
  EXPECT_TRUE(standby.standby_signal);
  EXPECT_EQ(standby.last_lsn(), std::max(standby.receive_lsn, standby.replay_lsn));
  auto primary = first.measure();
  ASSERT_EQ(primary.replication.size(), 1u);
  EXPECT_EQ(primary.replication[0].application_name, "n2");
  EXPECT_EQ(primary.replication[0].user, "replicator");
  EXPECT_EQ(primary.replication[0].client_addr, "127.0.0.1");
  ASSERT_EQ(primary.slots.size(), 1u);
  EXPECT_TRUE(primary.slots[0].active);
  EXPECT_EQ(standby.system_id, primary.system_id);

  // Cut it off: the receiver ends, the timeline is still known.
  ASSERT_TRUE(*second.server.write_configuration(kCluster, true, std::nullopt));
  kill(second.pid, SIGHUP);
  standby = second.wait_for([](const LocalServer& s) { return s.receiver_state.empty(); });
  EXPECT_EQ(standby.timeline, 1u);
  EXPECT_TRUE(standby.upstream.empty());

  // What only the old primary has, before it dies a hard death.
  ASSERT_TRUE(first.sql(superuser, "INSERT INTO t VALUES (2)"));
  // Somewhere there is a timeline 2 already.
  ASSERT_TRUE(second.server.reserve_timelines(1, 2));
  ASSERT_TRUE(second.server.write_promote_file());
  kill(second.pid, SIGUSR1);
  auto promoted = second.wait_for(is_primary);
  EXPECT_EQ(promoted.timeline, 3u);
  ASSERT_TRUE(second.server.release_timelines());
  const auto pg_wal = second.server.settings().data_dir + "/pg_wal/";
  EXPECT_TRUE(std::filesystem::exists(pg_wal + "00000002.history")) << "standbys ask for it";
  EXPECT_TRUE(std::filesystem::exists(pg_wal + "archive_status/00000002.history.ready"));
  EXPECT_FALSE(promoted.standby_signal);
  promoted = second.measure();
  ASSERT_EQ(promoted.history.size(), 1u);
  EXPECT_EQ(promoted.history[0].timeline, 1u);
  EXPECT_GE(promoted.history[0].end, standby.replay_lsn);
  first.stop(SIGQUIT);

  // The checkpoint that a promotion makes by itself sleeps 0.1 s for every page it writes.
  ASSERT_TRUE(run(second.loop, second.server.checkpoint(60s)));
  const auto seen = run(first.loop, first.server.control_timeline_of(second.upstream(), 20s));
  ASSERT_TRUE(seen) << seen.error().message;
  EXPECT_EQ(*seen, 3u);
  ASSERT_TRUE(run(second.loop, second.server.sync_slots({"n1"}, 20s)));
  first.do_command(first.server.rewind_command(second.upstream()));
  ASSERT_TRUE(first.server.write_configuration(kCluster, true, second.upstream()));
  first.start();
  auto follower = first.wait_for(is_streaming);
  EXPECT_EQ(follower.timeline, 3u);
  auto rows = first.sql(superuser, "SELECT count(*) FROM t");
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->front().text(0, 0), "1");

  // Without any primary it still knows its timeline after a restart.
  second.stop();
  first.stop();
  const auto stopped = second.measure();
  EXPECT_EQ(stopped.state, ServerState::stopped);
  ASSERT_EQ(stopped.history.size(), 1u);
  EXPECT_EQ(stopped.history[0].end, promoted.history[0].end);
  first.start();
  follower = first.wait_for(is_up);
  EXPECT_EQ(follower.timeline, 3u);
  EXPECT_EQ(follower.history.size(), 1u);
}

TEST_F(LiveServerTest, StandbyKeepsItsPrimarysLimits) {
  LiveServer first(directory->path, "n1"), second(directory->path, "n2");
  make_primary(first);
  make_standby(second, first);
  second.stop();
  auto lower = kCluster;
  lower["parameters"].as_object()["max_connections"] = 20;
  ASSERT_TRUE(*second.server.write_configuration(lower, true, first.upstream()));
  second.start();
  const auto standby = second.wait_for(is_streaming);  // with 20 it would refuse to start
  EXPECT_FALSE(standby.pending_restart.empty());
}

TEST_F(LiveServerTest, ClearsADirectoryButKeepsItsWal) {
  LiveServer node(directory->path, "n1");
  make_primary(node);
  auto refused = run(node.loop, node.server.clear_data_directory("a test", false));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_EQ(node.measure().state, ServerState::running);
  const auto superuser = node.server.settings().superuser;
  ASSERT_TRUE(
      node.sql(superuser, "CREATE TABLE t AS SELECT 1; SELECT pg_switch_wal(); CHECKPOINT"));
  ASSERT_TRUE(
      node.sql(superuser, "CREATE TABLE u AS SELECT 1; SELECT pg_switch_wal(); CHECKPOINT"));
  node.stop(SIGKILL);  // leaves postmaster.pid behind
  const auto segments_in = [](const std::string& place) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(place)) {
      const auto name = entry.path().filename().string();
      if (entry.is_regular_file() && name.size() == 24) names.insert(name);
    }
    return names;
  };
  const auto kept = node.server.settings().state_dir + "/diverged/n1";
  const auto pg_wal = node.server.settings().data_dir + "/pg_wal/";
  const std::string in_advance = "0000000100000000000000F0";  // an old segment under a new name
  std::filesystem::copy_file(pg_wal + *segments_in(pg_wal).begin(), pg_wal + in_advance);
  const auto in_data = segments_in(pg_wal);
  const Lsn third{3ull << 24};
  ASSERT_TRUE(run(node.loop, node.server.keep_diverged_wal("a test", third)));
  EXPECT_EQ(*segments_in(kept).begin(), "000000010000000000000003");
  ASSERT_TRUE(run(node.loop, node.server.keep_diverged_wal("a test", std::nullopt)));
  const auto copied = segments_in(kept);
  EXPECT_GT(copied.size(), 1u);
  EXPECT_FALSE(copied.contains(in_advance));  // it holds nothing of its own
  EXPECT_EQ(segments_in(pg_wal), in_data);
  auto cleared = run(node.loop, node.server.clear_data_directory("a test", false));
  ASSERT_TRUE(cleared) << cleared.error().message;
  EXPECT_EQ(node.server.look_at_data_directory(), DataDirectory::empty);
  EXPECT_EQ(segments_in(kept), copied);
}

}  // namespace
}  // namespace pgsteady::pg::testing
