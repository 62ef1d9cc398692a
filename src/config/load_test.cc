#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/config.h"

namespace pgsteady::config {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Load : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = testing::TempDir() + "config_test." + std::to_string(::getpid());
    std::filesystem::create_directories(directory_ + "/bin");
    std::ofstream(directory_ + "/bin/postgres") << "#!/bin/sh\n";
    std::filesystem::permissions(directory_ + "/bin/postgres", std::filesystem::perms::owner_all);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Result<NodeConfig> load_text(const std::string& text, std::vector<std::string> env = {}) {
    std::ofstream(directory_ + "/node.yml") << text;
    env.push_back("PATH=/usr/bin");
    return load(directory_ + "/node.yml", env);
  }
  std::string minimal(const std::string& more = "", const std::string& postgresql = "") {
    return "scope: demo\nname: pg1\netcd3: {host: '127.0.0.1:2379'}\npostgresql:\n"
           "  data_dir: /srv/pg/data\n  bin_dir: " +
           directory_ + "/bin\n" + postgresql + more;
  }
  std::string errors(const std::string& text, std::vector<std::string> env = {}) {
    auto loaded = load_text(text, std::move(env));
    return loaded ? "" : loaded.error().message;
  }
  std::string directory_;
};

TEST_F(Load, MinimalFileHasDefaults) {
  auto config = load_text(minimal());
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->prefix(), "/service/demo/");
  EXPECT_THAT(config->etcd.endpoints, ElementsAre("127.0.0.1:2379"));
  EXPECT_EQ(config->restapi.connect, (HostPort{"127.0.0.1", 8008}));
  EXPECT_EQ(config->server.connect, (HostPort{"127.0.0.1", 5432}));
  EXPECT_EQ(config->server.state_dir, "/srv/pg/data.pgsteady");
  EXPECT_EQ(config->server.pgpass_path, "/srv/pg/data.pgsteady/pgpass");
  EXPECT_EQ(config->server.unix_socket_dir, "/srv/pg/data.pgsteady");
  EXPECT_EQ(config->server.scope, "demo");
  EXPECT_EQ(config->server.name, "pg1");
  EXPECT_EQ(config->server.superuser.username, "postgres");
  EXPECT_THAT(config->warnings, IsEmpty());
}

// The shape that Debian's patroni package generates.
TEST_F(Load, DebianSample) {
  auto config = load_text(R"(
scope: "15-main"
namespace: "/postgresql-common/"
name: node1
etcd3:
  hosts:
    - 10.0.0.1:2379
    - '10.0.0.2'
restapi:
  listen: 10.0.0.1:8008
  connect_address: 10.0.0.1:8008
#  certfile: /etc/ssl/certs/ssl-cert-snakeoil.pem
bootstrap:
  method: pg_createcluster
  pg_createcluster:
    command: /usr/share/patroni/pg_createcluster_patroni
  dcs:
    ttl: 30
    loop_wait: 10
    maximum_lag_on_failover: 1048576
    check_timeline: no
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: '100'
        random_page_cost: 1.5
  initdb:
  - encoding: UTF8
  - data-checksums
  pg_hba:
  - local   all   all   peer
  - host    all   all   0.0.0.0/0   scram-sha-256
  users:
    admin:
      password: adm,in
      options:
        - createrole
        - createdb
postgresql:
  create_replica_method:
    - pg_clonecluster
  pg_clonecluster:
    command: /usr/share/patroni/pg_clonecluster_patroni
  listen: "*:5433"
  connect_address: 10.0.0.1:5433
  use_unix_socket: true
  data_dir: /var/lib/postgresql/15/main/
  config_dir: /etc/postgresql/15/main
  bin_dir: )" + directory_ +
                          R"(/bin
  pgpass: /var/lib/postgresql/15-main.pgpass
  authentication:
    replication: {username: "replicator", password: "rep-pass"}
    superuser: {username: "postgres", password: "postgres"}
  parameters:
    unix_socket_directories: '/var/run/postgresql/'
    logging_collector: 'on'
    max_wal_size: 1GB
tags:
  nofailover: false
  weight: 3
  zone: '1'
watchdog:
  mode: off
)");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->prefix(), "/postgresql-common/15-main/");
  EXPECT_THAT(config->etcd.endpoints, ElementsAre("10.0.0.1:2379", "10.0.0.2:2379"));
  EXPECT_THAT(config->server.listen_hosts, ElementsAre("*"));
  EXPECT_EQ(config->server.port, 5433);
  EXPECT_EQ(config->server.data_dir, "/var/lib/postgresql/15/main");
  EXPECT_EQ(config->server.unix_socket_dir, "/var/run/postgresql");
  EXPECT_EQ(config->server.replication.password, "rep-pass");
  EXPECT_EQ(config->server.parameters.at("logging_collector"), "on");
  EXPECT_THAT(config->server.initdb_options, ElementsAre("--encoding=UTF8", "--data-checksums"));
  EXPECT_EQ(config->server.pg_hba.size(), 2u);
  ASSERT_EQ(config->server.users.size(), 1u);
  EXPECT_EQ(config->server.users[0].credentials.password, "adm,in");
  EXPECT_THAT(config->server.users[0].options, ElementsAre("createrole", "createdb"));
  EXPECT_EQ(config->bootstrap_dcs.at("ttl").as_int64(), 30);
  EXPECT_EQ(config->bootstrap_dcs.at("check_timeline").as_bool(), false);
  const auto& parameters = config->bootstrap_dcs.at("postgresql").at("parameters");
  EXPECT_EQ(parameters.at("max_connections").as_string(), "100");
  EXPECT_EQ(parameters.at("random_page_cost").as_double(), 1.5);
  EXPECT_EQ(config->tags.values.at("weight").as_int64(), 3);
  EXPECT_EQ(config->tags.values.at("zone").as_string(), "1");
  EXPECT_THAT(config->warnings, Contains(HasSubstr("bootstrap.method: not honoured yet")));
  EXPECT_THAT(config->warnings, Contains(EndsWith("postgresql.config_dir: not honoured yet")));
  EXPECT_THAT(config->warnings, Not(Contains(HasSubstr("unknown"))));
}

TEST_F(Load, EnvironmentLiesOverTheFile) {
  auto config = load_text(
      minimal(), {"PATRONI_NAME=pg9", "PATRONI_ETCD3_HOSTS=a:1,b:2",
                  "PATRONI_POSTGRESQL_LISTEN=127.0.0.1:7000", "PATRONI_REWIND_USERNAME=rew",
                  "PATRONI_SUPERUSER_PASSWORD=s", "PATRONI_ETCD_PASSWORD=no",
                  "PATRONI_ETCD3_PASSWORD=yes", "PATRONI_RESTAPI_LISTEN=:", "PATRONI_FOO=x"});
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message, HasSubstr("PATRONI_RESTAPI_LISTEN: restapi.listen: ':'"));
  config = load_text(minimal(),
                     {"PATRONI_NAME=pg9", "PATRONI_ETCD3_HOSTS=a:1,b:2",
                      "PATRONI_POSTGRESQL_LISTEN=127.0.0.1:7000", "PATRONI_REWIND_USERNAME=rew",
                      "PATRONI_SUPERUSER_PASSWORD=s", "PATRONI_ETCD_PASSWORD=no",
                      "PATRONI_ETCD3_PASSWORD=yes", "PATRONI_FOO=x"});
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->name, "pg9");
  EXPECT_THAT(config->etcd.endpoints, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(config->etcd.password, "yes");
  EXPECT_EQ(config->server.port, 7000);
  EXPECT_EQ(config->server.rewind.username, "rew");
  EXPECT_EQ(config->server.superuser.password, "s");
  EXPECT_THAT(config->warnings, ElementsAre("PATRONI_FOO: not honoured yet"));
}

TEST_F(Load, TellsAllFindingsAtOnceWithTheirLines) {
  auto text = errors(
      "name: a/b\netcd3:\n  hosts: [x:99999]\nrestapi:\n  listen: '*:8008'\n"
      "postgresql:\n  data_dir: data\n  listen: '0.0.0.0:5432'\n"
      "  pg_hba: all\nlog: {level: LOUD}\n");
  EXPECT_THAT(text, HasSubstr("node.yml:1: scope: missing"));
  EXPECT_THAT(text, HasSubstr("node.yml:1: name: 'a/b'"));
  EXPECT_THAT(text, HasSubstr("node.yml:3: etcd3.hosts: 'x:99999' is no address"));
  EXPECT_THAT(text, HasSubstr("restapi.connect_address: missing"));
  EXPECT_THAT(text, HasSubstr("node.yml:7: postgresql.data_dir: 'data' is not absolute"));
  EXPECT_THAT(text, HasSubstr("postgresql.connect_address: missing"));
  EXPECT_THAT(text, HasSubstr("node.yml:9: postgresql.pg_hba: expected a list"));
  EXPECT_THAT(text, HasSubstr("node.yml:10: log.level: 'LOUD'"));
}

TEST_F(Load, WhatTheClusterAndTagsMeanIsLookedAtToo) {
  auto text = errors(
      minimal("bootstrap:\n  dcs:\n    ttl: long\n    postgresql:\n      use_slots: maybe\n"
              "tags:\n  nofailover: sometimes\n  failover_priority: high\n  replicatefrom: 3\n"));
  EXPECT_THAT(text, HasSubstr("node.yml:9: bootstrap.dcs.ttl: expected seconds"));
  EXPECT_THAT(text, HasSubstr("node.yml:11: bootstrap.dcs.postgresql.use_slots: expected true or"));
  EXPECT_THAT(text, HasSubstr("node.yml:13: tags.nofailover: expected true or false"));
  EXPECT_THAT(text, HasSubstr("node.yml:14: tags.failover_priority: expected a whole number"));
  EXPECT_THAT(text, HasSubstr("node.yml:15: tags.replicatefrom: expected a member's name"));
  auto config = load_text(minimal("bootstrap: {dcs: {tttl: 5, slots: {a: {type: physical}}}}\n"));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_THAT(config->warnings, Contains(EndsWith("bootstrap.dcs.tttl: unknown key")));
  EXPECT_THAT(config->warnings, Contains(EndsWith("bootstrap.dcs.slots: not honoured yet")));
}

TEST_F(Load, WarnsOfUnknownKeysAndSaysWhatWasMeant) {
  auto config = load_text(minimal("  data_dirr: /x\nrestapi:\n  certfile: /x\nzzz: 1\n"));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_THAT(config->warnings,
              Contains(EndsWith("node.yml:7: unknown key postgresql.data_dirr, did you mean "
                                "postgresql.data_dir?")));
  EXPECT_THAT(config->warnings, Contains(EndsWith(":9: restapi.certfile: not honoured yet")));
  EXPECT_THAT(config->warnings, Contains(EndsWith("unknown key zzz")));
}

TEST_F(Load, EtcdIsAnAliasAndUrlsCarryTheProtocol) {
  auto config = load_text(
      "scope: s\nname: n\netcd: {url: 'https://[::1]:2380/'}\npostgresql:\n"
      "  data_dir: /d\n  bin_dir: " +
      directory_ + "/bin\n");
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_THAT(config->etcd.endpoints, ElementsAre("[::1]:2380"));
  EXPECT_TRUE(config->etcd.tls);
  EXPECT_THAT(config->warnings, Contains(HasSubstr("etcd: read as etcd3")));
}

TEST_F(Load, ClientsNeedLittle) {
  std::ofstream(directory_ + "/ctl.yaml") << "etcd3: {hosts: [a:1]}\nnamespace: x\nctl: {}\n";
  auto config = load_client(directory_ + "/ctl.yaml", {"PATRONI_SCOPE=demo"});
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->prefix_of(config->scope), "/x/demo/");
  EXPECT_THAT(config->etcd.endpoints, ElementsAre("a:1"));
  config = load_client("", {"PATRONI_ETCD3_HOST=b:2"});
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_THAT(config->etcd.endpoints, ElementsAre("b:2"));
  EXPECT_EQ(config->prefix_of("s"), "/service/s/");
  EXPECT_EQ(load_client("/nowhere", {}).error().kind, ErrorKind::not_found);
}

TEST(EtcdOfUrl, TakesWhatPatronictlTakes) {
  EXPECT_THAT(etcd_of_url("etcd3://h:1")->endpoints, ElementsAre("h:1"));
  EXPECT_THAT(etcd_of_url("a, b:5")->endpoints, ElementsAre("a:2379", "b:5"));
  EXPECT_TRUE(etcd_of_url("https://a")->tls);
  EXPECT_FALSE(etcd_of_url("zk://a"));
  EXPECT_FALSE(etcd_of_url(""));
}

TEST_F(Load, RefusesWhatIsNoConfiguration) {
  EXPECT_EQ(load("/nowhere/node.yml", {}).error().kind, ErrorKind::not_found);
  EXPECT_THAT(errors("a: [1\nb: }"), HasSubstr("not readable as YAML"));
  EXPECT_THAT(errors(minimal("---\nname: pg2\n")), HasSubstr("node.yml:8: a second YAML document"));
  EXPECT_THAT(errors("just text"), HasSubstr("expected a map"));
  EXPECT_THAT(errors(""), HasSubstr("scope: missing"));
  EXPECT_THAT(errors(minimal("scope: again\n")), HasSubstr("scope: given twice"));
  EXPECT_THAT(errors(std::string(2 << 20, 'x')), HasSubstr("no configuration"));
  EXPECT_THAT(errors(minimal("pgsteady: {state_dir: /srv/pg/data/x}\n")), HasSubstr("state_dir"));
  EXPECT_THAT(errors(minimal("pgsteady: {state_dir: /" + std::string(120, 'x') + "}\n")),
              HasSubstr("too long for a socket"));
  EXPECT_THAT(errors(minimal("bootstrap: {initdb: [{pgdata: /x}]}\n")), HasSubstr("not allowed"));
}

TEST_F(Load, PasswordsStandInNoFinding) {
  auto text = errors(
      "name: [s3cret]\npostgresql:\n  authentication:\n"
      "    superuser: {password: [s3cret]}\n");
  EXPECT_THAT(text, HasSubstr("postgresql.authentication.superuser.password: expected a single"));
  EXPECT_THAT(text, Not(HasSubstr("s3cret")));
}

TEST_F(Load, CredentialsAreOneLine) {
  auto text = errors(minimal("bootstrap: {users: {app: {password: \"s3cret\\0\"}}}\n",
                             "  authentication:\n    superuser:\n      password: |\n"
                             "        s3cret\n    rewind: {username: \"r\\re\"}\n"),
                     {"PATRONI_ETCD3_PASSWORD=s3cret\n"});
  const std::string found = "holds a line break or a zero byte, expected one line\nhint: ";
  EXPECT_THAT(text, HasSubstr(":9: postgresql.authentication.superuser.password: " + found));
  EXPECT_THAT(text, HasSubstr(":11: postgresql.authentication.rewind.username: " + found));
  EXPECT_THAT(text, HasSubstr(":12: bootstrap.users.app.password: " + found));
  EXPECT_THAT(text, HasSubstr("PATRONI_ETCD3_PASSWORD: etcd3.password: " + found));
  EXPECT_THAT(text, Not(HasSubstr("s3cret")));
}

TEST_F(Load, SeveralListenHostsShareThePort) {
  auto config = load_text(minimal("", "  listen: '127.0.0.1,::1:6000'\n"));
  EXPECT_TRUE(config || !config.error().message.empty());
  config = load_text(minimal("", "  listen: 'localhost,127.0.0.1:6000'\n"));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_THAT(config->server.listen_hosts, ElementsAre("localhost", "127.0.0.1"));
  EXPECT_EQ(config->server.port, 6000);
  EXPECT_THAT(errors(minimal("", "  listen: 'a:1,b:2'\n")), HasSubstr("postgresql.listen"));
}

TEST_F(Load, MergeKeysLieUnderTheOwnOnes) {
  auto config =
      load_text(minimal("log: &base {level: error}\nwatchdog:\n  <<: *base\n  mode: off\n"));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->log_level, "ERROR");
}

TEST_F(Load, TheWatchdogDevice) {
  auto config = load_text(minimal(""));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->watchdog.mode, "off");
  EXPECT_EQ(config->watchdog.device, "/dev/watchdog");
  EXPECT_EQ(config->watchdog.safety_margin_seconds, 5);
  config =
      load_text(minimal("watchdog: {mode: required, device: /dev/watchdog1, safety_margin: -1}\n"));
  ASSERT_TRUE(config) << config.error().text();
  EXPECT_EQ(config->watchdog.mode, "required");
  EXPECT_EQ(config->watchdog.device, "/dev/watchdog1");
  EXPECT_EQ(config->watchdog.safety_margin_seconds, -1);
  EXPECT_THAT(errors(minimal("watchdog: {mode: sometimes}\n")), HasSubstr("watchdog.mode"));
  EXPECT_THAT(errors(minimal("watchdog: {safety_margin: soon}\n")),
              HasSubstr("watchdog.safety_margin"));
}

}  // namespace
}  // namespace pgsteady::config
