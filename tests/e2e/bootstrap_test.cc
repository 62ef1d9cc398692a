// From nothing to a cluster: keys, roles, users, access, and who is let in later.
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "base/process.h"
#include "fixture.h"

namespace pgsteady::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Bootstrap : public E2e {};

std::string file_text(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Who may read a process's environment and memory.
uid_t owner_of_memory(pid_t pid) {
  struct stat info {};
  stat(("/proc/" + std::to_string(pid) + "/environ").c_str(), &info);
  return pid == 0 ? static_cast<uid_t>(-1) : info.st_uid;
}

bool may_connect(const std::string& conninfo) {
  return ask(conninfo, "select 1").has_value();
}

TEST_F(Bootstrap, ThreeNodesAgreeOnOnePrimary) {
  run_cluster();
  Node& primary = leader();
  EXPECT_EQ(etcd().get(cluster().key("leader")), primary.name);
  auto id = cluster().sql("select system_identifier::text from pg_control_system()");
  ASSERT_TRUE(id);
  EXPECT_EQ(etcd().get(cluster().key("initialize")), id->at(0).at(0));
  EXPECT_EQ(cluster().sql("show data_checksums")->at(0).at(0), "on");
  EXPECT_THAT(etcd().get(cluster().key("config")), HasSubstr("\"ttl\":5"));
  EXPECT_THAT(file_text(primary.log()), HasSubstr("initialized a new cluster"));
  for (auto& node : cluster().nodes()) {
    bool leads = node.get() == &primary;
    EXPECT_EQ(node->rest("/primary")->status, leads ? 200 : 503) << node->name;
    EXPECT_EQ(node->rest("/master")->status, leads ? 200 : 503) << node->name;
    EXPECT_EQ(node->rest("/leader")->status, leads ? 200 : 503) << node->name;
    EXPECT_EQ(node->rest("/replica")->status, leads ? 503 : 200) << node->name;
    EXPECT_EQ(node->rest("/health")->status, 200) << node->name;
    EXPECT_EQ(node->rest("/liveness")->status, 200) << node->name;
    EXPECT_EQ(node->rest("/patroni")->status, 200) << node->name;
    EXPECT_THAT(node->rest("/cluster")->body, HasSubstr("\"" + primary.name + "\"")) << node->name;
    EXPECT_THAT(node->rest("/metrics")->body, HasSubstr("patroni_postgres_running")) << node->name;
  }
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// The check of the check that nearly every other test ends with.
TEST_F(Bootstrap, ARowThatIsGoneIsMissed) {
  run_cluster();
  writer().stop();
  const auto gone = writer().acks().front().number;
  ASSERT_EQ(writer().lost(), std::vector<std::int64_t>{});
  ASSERT_TRUE(cluster().sql("delete from writes where n = " + std::to_string(gone)));
  EXPECT_EQ(writer().lost(), std::vector<std::int64_t>{gone});
}

TEST_F(Bootstrap, MemberKeysHoldWhatPeersNeedAndNoPassword) {
  run_cluster();
  for (auto& node : cluster().nodes()) {
    std::string member;
    eventually(kLong, [&] {
      member = etcd().get(cluster().key("members/" + node->name));
      return member.find("\"xlog_location\"") != std::string::npos;
    });
    for (const char* field :
         {"\"role\"", "\"state\":\"running\"", "\"conn_url\":\"postgres://127.0.0.1:",
          "\"api_url\":\"http://127.0.0.1:", "\"xlog_location\""}) {
      EXPECT_THAT(member, HasSubstr(field));
    }
    for (const auto& secret :
         {cluster().passwords().superuser, cluster().passwords().replication}) {
      EXPECT_THAT(member, Not(HasSubstr(secret)));
    }
  }
}

TEST_F(Bootstrap, UsersHaveTheirRightsAndPasswordsAreAskedFor) {
  run_cluster();
  Node& primary = leader();
  const auto& secrets = cluster().passwords();
  auto admin =
      ask(primary.conninfo("admin", secrets.admin),
          "select rolcreatedb, rolcreaterole, rolsuper from pg_roles where rolname = user");
  ASSERT_TRUE(admin);
  EXPECT_EQ(admin->at(0), (std::vector<std::string>{"t", "t", "f"}));
  auto app = ask(primary.conninfo("app", secrets.app),
                 "select rolcreatedb, rolcreaterole, rolsuper from pg_roles where rolname = user");
  ASSERT_TRUE(app);
  EXPECT_EQ(app->at(0), (std::vector<std::string>{"f", "f", "f"}));
  EXPECT_FALSE(may_connect(primary.conninfo("postgres", "wrong")));
  EXPECT_FALSE(may_connect(primary.conninfo("admin", secrets.app)));
  ASSERT_TRUE(
      ask(primary.conninfo("admin", secrets.admin), "create database bookshop", Millis(30000)));
  EXPECT_TRUE(may_connect(primary.conninfo("app", secrets.app) + " dbname=bookshop"));
  auto stored = cluster().sql("select count(*) from pg_authid where rolpassword like 'SCRAM%'");
  EXPECT_EQ(stored->at(0).at(0), "5");
  for (auto& node : cluster().nodes()) {
    for (const auto& secret :
         {secrets.superuser, secrets.replication, secrets.rewind, secrets.admin, secrets.app}) {
      EXPECT_THAT(file_text(node->log()), Not(HasSubstr(secret))) << "a password in the log";
    }
    EXPECT_EQ(owner_of_memory(node->agent()), 0u);
    EXPECT_EQ(owner_of_memory(node->guardian()), 0u);
  }
}

TEST_F(Bootstrap, ListShowsTheMembers) {
  run_cluster();
  auto table = pgsteady(cluster(), {"list", "-c", cluster().node(0).yaml()});
  EXPECT_EQ(table.exit_code, 0) << table.text;
  for (auto& node : cluster().nodes()) EXPECT_THAT(table.text, HasSubstr(node->name));
  EXPECT_THAT(table.text, HasSubstr("Leader"));
  auto data = pgsteady(cluster(), {"list", "-c", cluster().node(1).yaml(), "-f", "json"});
  EXPECT_EQ(data.exit_code, 0) << data.text;
  EXPECT_THAT(data.text, HasSubstr("\"Member\""));
}

TEST_F(Bootstrap, ANodeWithAnEmptyDirectoryIsCloned) {
  run_cluster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  auto status = replica->stop();
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, 0);
  std::filesystem::remove_all(replica->data());
  replica->start();
  expect_recovered();
  auto rows = ask(replica->superuser(), "select count(*) from writes");
  ASSERT_TRUE(rows);
  EXPECT_GT(std::stoi(rows->at(0).at(0)), 0);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Bootstrap, ANodeOfAnotherClusterIsRefusedAndKeepsItsData) {
  run_cluster();
  Node& stranger = cluster().add_node();
  {
    Process initdb({"/usr/lib/postgresql/15/bin/initdb", "-D", stranger.data(), "-U", "postgres"},
                   stranger.log());
    auto status = initdb.wait(kLong);
    ASSERT_TRUE(status && *status == 0);
  }
  auto control = [&] {
    auto result = run_process({"/usr/lib/postgresql/15/bin/pg_controldata", stranger.data()},
                              {"LC_ALL=C"}, Millis(5000));
    return result ? result->output : "";
  };
  const auto before = control();
  stranger.start();
  auto status = stranger.process().wait(kLong);
  ASSERT_TRUE(status) << "it still runs";
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) != 0);
  EXPECT_THAT(file_text(stranger.log()), HasSubstr("system ID"));
  EXPECT_EQ(control(), before);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Bootstrap, ASecondNodeOfTheSameNameIsRefused) {
  run_cluster();
  Node& named = *cluster().a_replica();
  Node& twin = cluster().add_node();
  std::string yaml = file_text(twin.yaml());
  auto at = yaml.find("name: " + twin.name + "\n");
  ASSERT_NE(at, std::string::npos);
  yaml.replace(at + 6, twin.name.size(), named.name);
  std::ofstream(twin.yaml()) << yaml;
  const auto key = cluster().key("members/" + named.name);
  const auto address = named.host + ":" + std::to_string(named.rest_port);
  twin.start();
  auto status = twin.process().wait(kLong);
  ASSERT_TRUE(status) << "it still runs";
  EXPECT_TRUE(WIFEXITED(*status) && WEXITSTATUS(*status) != 0);
  EXPECT_THAT(file_text(twin.log()),
              HasSubstr("there is already a node named '" + named.name + "' running"));
  EXPECT_THAT(etcd().get(key), HasSubstr(address)) << "its key is left alone";
  EXPECT_FALSE(std::filesystem::exists(twin.data()));
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Bootstrap, RootIsRefused) {
  if (!server_user().drop) return;  // only root can try
  prepare();
  auto result = run_process({cluster().bin_dir() / "pgsteady", "run", cluster().node(0).yaml()}, {},
                            Millis(10000));
  ASSERT_TRUE(result);
  EXPECT_NE(result->exit_code, 0);
  EXPECT_THAT(result->output, HasSubstr("root"));
}

}  // namespace
}  // namespace pgsteady::testing
