// Base backups and restores to a point in time, with a real PostgreSQL, on a directory.
#include <fmt/format.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "archive/fixture.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Backups : public ArchiveTest {
 protected:
  fs::path only_backup() {
    for (const auto& entry : fs::directory_iterator(archive_ / "basebackups_005")) {
      if (entry.is_directory()) return entry.path();
    }
    return {};
  }
  std::string rows(PlainServer& server) {
    return server.sql("select string_agg(n::text, ',' order by n) from t");
  }
  // Starts a restored directory and waits until it has recovered.
  std::unique_ptr<PlainServer> recovered(const fs::path& data) {
    auto server = std::make_unique<PlainServer>(data, environment_);
    server->append("archive_mode = off");
    server->start();
    EXPECT_TRUE(server->wait_primary()) << server->log();
    return server;
  }
};

TEST_F(Backups, RestoreToAPointInTime) {
  start_archiving();
  server_->sql("create table t (n int)");
  server_->sql("insert into t values (1)");
  const auto before_all = server_->sql("select now()");
  auto pushed = backup();
  ASSERT_EQ(pushed.exit_code, 0) << pushed.text << server_->log();
  EXPECT_THAT(pushed.text, HasSubstr("stored base_0000000100000000"));
  server_->sql("insert into t values (2)");
  const auto target = server_->sql("select clock_timestamp()");
  server_->sql("insert into t values (3)");
  archive_all();

  auto list = pgsteady({"backup-list"});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_THAT(list.text, HasSubstr("| base_0000000100000000"));
  EXPECT_THAT(pgsteady({"backup-list", "--json"}).text, HasSubstr("\"backup_name\":\"base_"));
  EXPECT_THAT(pgsteady({"backup-list", "--tsv"}).text, HasSubstr("expanded_size_bytes"));

  const auto to = dir_.path() / "restored";
  auto dry = pgsteady({"restore", "--to", to, "--target-time", target, "--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.text;
  EXPECT_FALSE(fs::exists(to));
  auto too_old = pgsteady({"restore", "--to", to, "--target-time", before_all});
  EXPECT_EQ(too_old.exit_code, 1);
  EXPECT_THAT(too_old.text, HasSubstr("ended before"));
  auto live = pgsteady({"backup-fetch", server_->data(), "LATEST"});
  EXPECT_EQ(live.exit_code, 1);
  EXPECT_THAT(live.text, HasSubstr("attempting to overwrite a live data directory"));

  auto restored = pgsteady({"restore", "--to", to, "--target-time", target});
  ASSERT_EQ(restored.exit_code, 0) << restored.text;
  auto server = recovered(to);
  EXPECT_EQ(rows(*server), "1,2");
  EXPECT_EQ(server->sql("select timeline_id from pg_control_checkpoint()"), "2");
  server->kill();

  // Without a target all that was archived.
  ASSERT_EQ(pgsteady({"restore", "--to", dir_.path() / "all"}).exit_code, 0);
  auto all = recovered(dir_.path() / "all");
  EXPECT_EQ(rows(*all), "1,2,3");
  all->kill();
  auto again = pgsteady({"backup-fetch", to, "LATEST"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.text, HasSubstr("is not empty"));
}

TEST_F(Backups, WritesMeanwhileAndTablespaces) {
  run_command({"mkdir", dir_.path() / "space"});
  start_archiving();
  server_->sql(
      fmt::format("create tablespace fast location '{}'", (dir_.path() / "space").string()));
  server_->sql("create table t (n int) tablespace fast");
  server_->sql(
      "create table filler as select n, repeat(md5(n::text), 30) x"
      " from generate_series(1, 100000) n");
  SqlClient client;
  ASSERT_TRUE(client.connect(server_->conninfo(), Millis(5000)));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int n = 1; !stop; ++n) {
      client.query("insert into t values ($1)", {std::to_string(n)}, Millis(20000));
      client.query("update filler set n = n + 1 where n % 1000 = $1 % 1000", {std::to_string(n)},
                   Millis(20000));
    }
  });
  auto pushed = backup();
  stop = true;
  writer.join();
  ASSERT_EQ(pushed.exit_code, 0) << pushed.text << server_->log();
  archive_all();
  const auto count = server_->sql("select count(*) from t");
  const auto sum = server_->sql("select sum(n) from filler");
  const auto to = dir_.path() / "restored";
  auto moved =
      fmt::format("{}={}", (dir_.path() / "space").string(), (dir_.path() / "other").string());
  EXPECT_THAT(pgsteady({"restore", "--to", to}).text, HasSubstr("is not empty"));
  auto restored = pgsteady({"restore", "--to", to, "--tablespace-mapping", moved});
  ASSERT_EQ(restored.exit_code, 0) << restored.text;
  auto server = recovered(to);
  EXPECT_EQ(server->sql("select count(*) from t"), count);
  EXPECT_EQ(server->sql("select sum(n) from filler"), sum);
  EXPECT_EQ(
      server->sql("select pg_tablespace_location(oid) from pg_tablespace where spcname = 'fast'"),
      (dir_.path() / "other").string());
}

TEST_F(Backups, DamageOfEachKindIsFoundAndStartsNoServer) {
  start_archiving();
  ASSERT_EQ(backup().exit_code, 0);
  const auto keep = dir_.path() / "whole";
  ASSERT_EQ(run_command({"cp", "-a", archive_, keep}).exit_code, 0);
  std::vector<fs::path> objects;
  for (const auto& entry : fs::recursive_directory_iterator(only_backup())) {
    if (entry.path().string().find(".tar") != std::string::npos) objects.push_back(entry.path());
  }
  ASSERT_GE(objects.size(), 3u);
  int count = 0;
  auto expect_refused = [&](const fs::path& object, const char* how) {
    const auto to = dir_.path() / fmt::format("broken{}", ++count);
    auto fetched = pgsteady({"backup-fetch", to, "LATEST"});
    EXPECT_EQ(fetched.exit_code, 1) << how << " " << object;
    EXPECT_FALSE(fs::exists(to / "global/pg_control")) << how << " " << object;
    run_command(
        {"sh", "-c", fmt::format("rm -rf {0} && cp -a {1} {0}", archive_.string(), keep.string())});
  };
  for (const auto& object : objects) {
    fs::remove(object);
    expect_refused(object, "missing");
    fs::resize_file(object, 0);
    expect_refused(object, "empty");
    fs::resize_file(object, fs::file_size(object) / 2);
    expect_refused(object, "half");
    std::fstream file(object, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(fs::file_size(object) / 2));
    const int byte = file.peek();
    file.seekp(static_cast<std::streamoff>(fs::file_size(object) / 2));
    file.put(static_cast<char>(byte ^ 1));
    file.close();
    expect_refused(object, "flipped");
  }
  EXPECT_EQ(pgsteady({"backup-fetch", dir_.path() / "good", "LATEST"}).exit_code, 0);
}

TEST_F(Backups, PagesThatAreDamagedAreTold) {
  start_archiving();
  server_->sql("create table t as select generate_series(1, 10000) n");
  server_->sql("checkpoint");
  const auto path = server_->data() / server_->sql("select pg_relation_filepath('t')");
  server_->stop();
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(3 * 8192 + 5000);
  file.put('X');
  file.close();
  server_->start();
  ASSERT_TRUE(server_->wait_ready());
  auto pushed = backup();
  EXPECT_EQ(pushed.exit_code, 1);
  EXPECT_THAT(pushed.text, HasSubstr(" block 3\n"));
  EXPECT_THAT(pushed.text, HasSubstr("stored base_"));
}

TEST_F(Backups, WithoutItsWalThereIsNoBackup) {
  start_archiving();
  const auto port = std::to_string(server_->port());
  auto wrong =
      run_command({programs_.pgsteady(), "backup-push", dir_.path() / "none"}, environment_);
  EXPECT_EQ(wrong.exit_code, 1);
  PlainServer other(dir_.path() / "other", environment_);
  other.init();
  auto environment = environment_;
  environment.insert(environment.end(), {"PGHOST=127.0.0.1", "PGUSER=postgres", "PGPORT=" + port});
  auto foreign = run_command({programs_.pgsteady(), "backup-push", other.data()}, environment);
  EXPECT_EQ(foreign.exit_code, 1);
  EXPECT_THAT(foreign.text, HasSubstr("the server that answers is the system"));
  server_->sql("alter system set archive_command = 'false'");
  server_->sql("select pg_reload_conf()");
  auto pushed = run_command(
      {programs_.pgsteady(), "backup-push", "--wal-limit", "2", server_->data()}, environment);
  EXPECT_EQ(pushed.exit_code, 1);
  EXPECT_THAT(pushed.text, HasSubstr("archive_command"));
  EXPECT_THAT(pgsteady({"backup-list"}).text, Not(HasSubstr("base_")));
  EXPECT_EQ(pgsteady({"backup-fetch", dir_.path() / "x", "LATEST"}).exit_code, 1);
}

// Buckets as other programs leave them, made here from the format's description.
class Foreign : public Backups {
 protected:
  // Between pg_backup_start and pg_backup_stop, `pack` puts the data directory into the archive;
  // backup_label comes out in `label`.
  void copy_while_backing_up(const std::string& pack, std::string& label, std::string& segment,
                             std::string& start, std::string& stop) {
    start_archiving();
    server_->sql("create table t as select generate_series(1, 1000) n");
    SqlClient session;
    ASSERT_TRUE(session.connect(server_->conninfo(), Millis(5000)));
    auto begun =
        session.query("select l - '0/0', pg_walfile_name(l) from pg_backup_start('x', true) l", {},
                      Millis(60000));
    ASSERT_TRUE(begun);
    start = begun->at(0).at(0);
    segment = begun->at(0).at(1);
    auto packed = run_command({"sh", "-ec", pack});
    ASSERT_EQ(packed.exit_code, 0) << packed.text;
    auto done = session.query("select lsn - '0/0', labelfile from pg_backup_stop(false)", {},
                              Millis(60000));
    ASSERT_TRUE(done);
    stop = done->at(0).at(0);
    label = done->at(0).at(1);
    archive_all();
  }
  void put(const fs::path& path, const std::string& text) {
    run_command({"mkdir", "-p", (archive_ / path).parent_path()});
    std::ofstream(archive_ / path) << text;
    fs::permissions(archive_ / path, static_cast<fs::perms>(0644));
  }
  void expect_restored(const std::string& name) {
    auto restored = pgsteady({"restore", "--to", dir_.path() / "restored"});
    ASSERT_EQ(restored.exit_code, 0) << restored.text << name;
    auto server = recovered(dir_.path() / "restored");
    EXPECT_EQ(server->sql("select count(*) from t"), "1000");
  }
  std::string staged() { return (dir_.path() / "staged").string(); }
};

TEST_F(Foreign, WalGsRestores) {
  std::string label, segment, start, stop;
  const auto pack = fmt::format(
      "mkdir {0}; cd {1}; tar -P --transform 's,^\\./,/,' --exclude='./pg_wal/*'"
      " --exclude=./postmaster.pid --exclude=./global/pg_control -cf - . | gzip > {0}/part.gz;"
      " tar -P --transform 's,^,/,' -cf - global/pg_control | xz --format=lzma > {0}/control.lzma",
      staged(), server_->data().string());
  copy_while_backing_up(pack, label, segment, start, stop);
  const auto name = "base_" + segment, folder = "basebackups_005/" + name;
  put(folder + "/metadata.json", "{}");
  std::ofstream(dir_.path() / "backup_label") << label;
  auto placed = run_command(
      {"sh", "-ec",
       fmt::format("cd {0}; mkdir -p tar_partitions; cp {1}/part.gz tar_partitions/part_1.tar.gz;"
                   " cp {1}/control.lzma pg_control.tar.lzma;"
                   " tar -C {2} -cf backup_label.tar backup_label",
                   (archive_ / folder).string(), staged(), dir_.path().string())});
  ASSERT_EQ(placed.exit_code, 0) << placed.text;
  put("basebackups_005/" + name + "_backup_stop_sentinel.json",
      fmt::format(R"({{"LSN":{},"FinishLSN":{},"PgVersion":150000,"SystemIdentifier":1,)"
                  R"("Version":2,"StartTime":"2026-01-01T00:00:00Z",)"
                  R"("FinishTime":"2026-01-01T00:01:00.5Z","Spec":null,"ChkpNum":null}})",
                  start, stop));
  expect_restored(name);
}

TEST_F(Foreign, WalEsRestores) {
  std::string label, segment, start, stop;
  const auto pack = fmt::format(
      "mkdir {0}; cd {1}; tar --exclude='./pg_wal/*' --exclude=./postmaster.pid"
      " --exclude=./postgresql.conf --exclude='./pg_*.conf' -cf {0}/part.tar ."
      " || [ $? = 1 ]",
      staged(), server_->data().string());
  copy_while_backing_up(pack, label, segment, start, stop);
  std::ofstream(dir_.path() / "backup_label") << label;
  const auto name = "base_" + segment + "_00000040", folder = "basebackups_005/" + name;
  put(folder + "/extended_version.txt", "PostgreSQL 15");
  auto placed = run_command(
      {"sh", "-ec",
       fmt::format("cd {0}; mkdir -p tar_partitions; lzop -c {1}/part.tar >"
                   " tar_partitions/part_00000000.tar.lzo; tar -C {2} -cf - backup_label |"
                   " lzop -c > tar_partitions/part_00000001.tar.lzo;"
                   " cd {3}/wal_005; for f in *.lz4; do lz4 -dc $f 2>/dev/null | lzop -c >"
                   " ${{f%.lz4}}.lzo; rm $f; done",
                   (archive_ / folder).string(), staged(), dir_.path().string(),
                   archive_.string())});
  ASSERT_EQ(placed.exit_code, 0) << placed.text;
  put("basebackups_005/" + name + "_backup_stop_sentinel.json",
      fmt::format(R"({{"wal_segment_backup_stop":"{}","wal_segment_offset_backup_stop":"00000312",)"
                  R"("expanded_size_bytes":1,"spec":{{"base_prefix":"/x","tablespaces":[]}}}})",
                  segment));
  auto restored = pgsteady({"restore", "--to", dir_.path() / "restored"});
  ASSERT_EQ(restored.exit_code, 0) << restored.text;
  // WAL-E leaves the configuration out: it is the operator's to put there.
  for (const char* file : {"postgresql.conf", "pg_hba.conf", "pg_ident.conf"}) {
    run_command({"cp", server_->data() / file, dir_.path() / "restored"});
  }
  auto server = recovered(dir_.path() / "restored");
  EXPECT_EQ(server->sql("select count(*) from t"), "1000");
}

}  // namespace
}  // namespace pgsteady::testing
