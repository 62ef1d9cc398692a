#include "postgres/configuration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

namespace pgsteady::pg {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ServerSettings node() {
  ServerSettings s;
  s.scope = "demo";
  s.name = "Pg-1";
  s.listen_hosts = {"127.0.0.1", "10.0.0.1"};
  s.port = 5433;
  s.unix_socket_dir = "/run/pgsteady";
  s.state_dir = "/var/lib/pgsteady";
  s.pgpass_path = "/var/lib/pgsteady/pgpass";
  s.superuser = {"postgres", "top secret"};
  s.replication = {"replicator", "rep secret"};
  return s;
}

boost::json::object cluster(const char* parameters) {
  return {{"parameters", boost::json::parse(parameters)}};
}

Parameters file_of(const ServerSettings& s, const boost::json::object& c,
                   const Replication& r = {}) {
  std::vector<std::string> warnings;
  return file_parameters(s, c, r, warnings);
}

TEST(ForcedParameters, HaveDefaultsAndTheClustersValues) {
  auto forced = forced_parameters(node(), {});
  EXPECT_EQ(forced["max_connections"], "100");
  EXPECT_EQ(forced["wal_log_hints"], "on");
  EXPECT_EQ(forced["listen_addresses"], "127.0.0.1,10.0.0.1");
  EXPECT_EQ(forced["port"], "5433");
  EXPECT_EQ(forced["cluster_name"], "demo");
  EXPECT_EQ(forced.size(), 13u);
  forced = forced_parameters(
      node(), cluster(R"({"Max_Connections": 7, "wal_level": "minimal", "hot_standby": false,
                          "track_commit_timestamp": true, "max_wal_senders": null, "port": 1})"));
  EXPECT_EQ(forced["max_connections"], "7");
  EXPECT_EQ(forced["wal_level"], "replica");  // minimal could feed no standby
  EXPECT_EQ(forced["hot_standby"], "on");
  EXPECT_EQ(forced["track_commit_timestamp"], "on");
  EXPECT_EQ(forced["max_wal_senders"], "10");
  EXPECT_EQ(forced["port"], "5433");
  EXPECT_EQ(forced_parameters(node(), cluster(R"({"wal_level": "logical"})"))["wal_level"],
            "logical");
}

TEST(ForcedParameters, RiseForAStandby) {
  Parameters forced = {{"max_connections", "50"},
                       {"max_locks_per_transaction", "64"},
                       {"max_worker_processes", "20"},
                       {"max_wal_senders", "odd"}};
  raise_for_standby(forced, {{"max_connections", 100},
                             {"max_locks_per_xact", 128},
                             {"max_worker_processes", 8},
                             {"max_wal_senders", 9},
                             {"something_else", 9}});
  EXPECT_EQ(forced, (Parameters{{"max_connections", "100"},
                                {"max_locks_per_transaction", "128"},
                                {"max_worker_processes", "20"},
                                {"max_wal_senders", "odd"}}));
}

TEST(FileParameters, NodeOverClusterOverDefaults) {
  auto s = node();
  s.parameters = {{"work_mem", "2MB"}, {"Max_Connections", "9"}, {"archive_mode", "on"}};
  std::vector<std::string> warnings;
  auto p = file_parameters(
      s, cluster(R"({"work_mem": "1MB", "wal_keep_size": "1GB", "jit": false, "geqo": 3.5})"), {},
      warnings);
  EXPECT_EQ(p["work_mem"], "2MB");
  EXPECT_EQ(p["wal_keep_size"], "1GB");
  EXPECT_EQ(p["jit"], "off");
  EXPECT_EQ(p["archive_mode"], "on");
  EXPECT_EQ(p["wal_retrieve_retry_interval"], "100ms");
  EXPECT_EQ(p["max_slot_wal_keep_size"], "10GB");
  EXPECT_EQ(p["max_connections"], "100");
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("max_connections"));
}

TEST(FileParameters, WhatIsOursStaysOurs) {
  auto s = node();
  s.parameters = {{"primary_conninfo", "host=evil"}, {"a = 1\nb", "x"}, {"1st", "x"}};
  std::vector<std::string> warnings;
  auto p = file_parameters(s, cluster(R"({"hba_file": "/x", "recovery_target_time": "now"})"), {},
                           warnings);
  EXPECT_EQ(warnings.size(), 5u);
  EXPECT_EQ(p["primary_conninfo"], "");
  EXPECT_FALSE(p.contains("hba_file"));
  EXPECT_FALSE(p.contains("recovery_target_time"));
  EXPECT_FALSE(p.contains("a = 1\nb"));
}

TEST(FileParameters, KeepTheAgentsSocketFirst) {
  auto s = node();
  EXPECT_EQ(file_of(s, {})["unix_socket_directories"], "/run/pgsteady");
  s.parameters = {{"unix_socket_directories", "/tmp, /run/pgsteady/ ,/var/run"}};
  EXPECT_EQ(file_of(s, {})["unix_socket_directories"], "/run/pgsteady,/tmp,/var/run");
}

TEST(FileParameters, StandbyStreamsWithoutAPasswordInSight) {
  Replication r{true, Upstream{"pg2", {"10.0.0.2", 5432}, true}};
  auto p = file_of(node(), {}, r);
  EXPECT_EQ(p["primary_slot_name"], "pg_1");
  EXPECT_EQ(p["recovery_target_timeline"], "latest");
  EXPECT_THAT(p["primary_conninfo"], HasSubstr("host='10.0.0.2' port='5432' user='replicator'"));
  EXPECT_THAT(p["primary_conninfo"], HasSubstr("passfile='/var/lib/pgsteady/pgpass'"));
  EXPECT_THAT(p["primary_conninfo"], HasSubstr("application_name='Pg-1'"));
  EXPECT_THAT(postgresql_conf(p), Not(HasSubstr("secret")));
  r.upstream->use_slot = false;
  EXPECT_EQ(file_of(node(), {}, r)["primary_slot_name"], "");
  r.upstream.reset();
  EXPECT_EQ(file_of(node(), {}, r)["primary_conninfo"], "");
  r = {false, Upstream{"pg2", {"10.0.0.2", 5432}, true}};
  EXPECT_EQ(file_of(node(), {}, r)["primary_conninfo"], "");
}

TEST(PostgresqlConf, IncludesTheOriginalFirst) {
  EXPECT_EQ(postgresql_conf({{"a", "it's"}, {"b", ""}}),
            "# generated by pgsteady, do not edit\ninclude 'postgresql.base.conf'\n\n"
            "a = 'it''s'\nb = ''\n");
}

TEST(AutoConf, LosesOnlyWhatIsOurs) {
  EXPECT_EQ(without_reserved("# c\nwork_mem = '1MB'\nPrimary_Conninfo = 'host=x'\nport=1\nx = 'y'"),
            "# c\nwork_mem = '1MB'\nx = 'y'");
  EXPECT_EQ(without_reserved(""), "");
}

TEST(PgHba, LetsTheAgentInFirst) {
  auto s = node();
  const auto plain = pg_hba_conf(s, {}, "postgres");
  EXPECT_TRUE(
      plain.starts_with("# generated by pgsteady, do not edit\n"
                        "local all \"postgres\" peer map=pgsteady\n"));
  EXPECT_THAT(plain, HasSubstr("host replication \"replicator\" ::/0 scram-sha-256\n"));
  EXPECT_THAT(plain, Not(HasSubstr("trust")));
  EXPECT_THAT(pg_hba_conf(s, {}, ""), HasSubstr("local all \"postgres\" scram-sha-256\n"));

  boost::json::object of_cluster = {{"pg_hba", {"host all all samenet cert", 7}}};
  EXPECT_THAT(pg_hba_conf(s, of_cluster, "postgres"),
              HasSubstr("peer map=pgsteady\nhost all all samenet cert\n"));
  EXPECT_THAT(pg_hba_conf(s, of_cluster, "postgres"), Not(HasSubstr("0.0.0.0/0")));
  s.pg_hba = {"host all all 10.0.0.0/8 md5"};
  EXPECT_THAT(pg_hba_conf(s, of_cluster, "postgres"), Not(HasSubstr("samenet")));
  EXPECT_THAT(pg_hba_conf(s, of_cluster, "postgres"), HasSubstr("10.0.0.0/8 md5\n"));
}

TEST(PgIdent, MapsTheSystemUser) {
  auto s = node();
  s.pg_ident = {"map a b"};
  EXPECT_EQ(pg_ident_conf(s, {}, "pg"),
            "# generated by pgsteady, do not edit\npgsteady \"pg\" \"postgres\"\nmap a b\n");
}

}  // namespace
}  // namespace pgsteady::pg
