// Nodes that cannot go on with their own data: cloned anew.
#include <csignal>
#include <fstream>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;

class Recovery : public E2e {
 protected:
  void end(Node& node) {
    node.kill_everything();
    ASSERT_EQ(node.postmaster(), 0);
  }
  // The clones that the node has made of its own accord.
  int reclones(const Node& node) {
    std::ifstream in(node.data().string() + ".pgsteady/reclones");
    int count = 0;
    for (std::string line; std::getline(in, line);) ++count;
    return count;
  }
  void fill_with_wal(int segments) {
    for (int i = 0; i < segments; ++i) {
      ASSERT_TRUE(cluster().sql("select pg_logical_emit_message(false, 'x', repeat('x', 100))"));
      ASSERT_TRUE(cluster().sql("select pg_switch_wal()"));
    }
    ASSERT_TRUE(cluster().sql("checkpoint"));
  }
};

ClusterOptions two_nodes() {
  ClusterOptions options;
  options.nodes = 2;
  return options;
}

TEST_F(Recovery, AReplicaThatCannotStartIsClonedAnew) {
  run_cluster(two_nodes());
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  fs::remove_all(replica->data() / "pg_replslot");  // which no server starts without
  replica->start();
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 1);
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Recovery, AReplicaWithAnUnreadableControlFileIsClonedAnew) {
  run_cluster(two_nodes());
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  std::fstream control(replica->data() / "global/pg_control", std::ios::in | std::ios::out);
  control.seekp(40);
  control << "garbage";
  control.close();
  replica->start();
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 1);
  EXPECT_TRUE(fs::exists(replica->data().string() + ".pgsteady/diverged"))
      << "its WAL was not kept";
  expect_no_split();
}

TEST_F(Recovery, AWrongConfigurationIsNoReasonToClone) {
  run_cluster(two_nodes());
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  std::ofstream(replica->data() / "postgresql.base.conf", std::ios::app) << "work_mem = many\n";
  replica->start();
  EXPECT_TRUE(eventually(kLong, [&] {
    return tail(replica->log(), 200).find("cannot read its configuration") != std::string::npos;
  }));
  EXPECT_EQ(reclones(*replica), 0);
  std::ofstream(replica->data() / "postgresql.base.conf", std::ios::trunc) << "\n";
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 0);
  expect_no_split();
}

// PostgreSQL takes nothing of a file with a name in it that it does not know, so that a standby
// goes on looking for the leader before. It is promoted all the same.
TEST_F(Recovery, AParameterThatPostgresRefusesHoldsNoFailoverUp) {
  run_cluster(two_nodes());
  Node& old = leader();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  auto set = [](const std::string& value) {
    return R"({"postgresql": {"parameters": {"max_conections": )" + value + "}}}";
  };
  ASSERT_TRUE(replica->rest("PATCH", "/config", set("\"100\"")).starts_with("200"));
  ASSERT_TRUE(eventually(kLong, [&] {
    std::ifstream in(replica->data() / "postgresql.conf");
    return std::string(std::istreambuf_iterator<char>(in), {}).find("max_conections") !=
           std::string::npos;
  }));
  end(old);
  EXPECT_TRUE(cluster().wait_primary(kLong, &old));
  EXPECT_NE(tail(replica->log(), 400).find("PostgreSQL does not take its configuration"),
            std::string::npos);
  ASSERT_TRUE(replica->rest("PATCH", "/config", set("null")).starts_with("200"));
  old.start();
  expect_recovered();
  expect_no_split();
}

TEST_F(Recovery, AReplicaWhoseWalIsGoneFromTheLeaderIsClonedAnew) {
  auto options = two_nodes();
  run_cluster(options);
  Node& primary = leader();
  ASSERT_TRUE(cluster().sql("alter system set max_slot_wal_keep_size = '16MB'"));
  ASSERT_TRUE(cluster().sql("alter system set wal_keep_size = 0"));
  ASSERT_TRUE(cluster().sql("select pg_reload_conf()"));
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  end(*replica);
  fill_with_wal(6);
  const pid_t server = primary.postmaster();
  replica->start();
  expect_recovered();
  EXPECT_EQ(reclones(*replica), 1);
  expect_undisturbed(primary, server);
  // The slot that lost its WAL was made anew.
  EXPECT_TRUE(eventually(kLong, [&] {
    auto rows = cluster().sql("select count(*) from pg_replication_slots where active");
    return rows && rows->at(0).at(0) == "1";
  }));
  expect_nothing_lost();
  expect_no_split();
}

// What a node that comes back with WAL of its own goes through, broken off in different ways.
class Rejoin : public Recovery {
 protected:
  // The first leader has written a row that nobody else has, died, and another one leads.
  void part() {
    run_cluster(two_nodes());
    ASSERT_TRUE(cluster().sql("create table marks (what text)"));
    ASSERT_TRUE(cluster().sql("insert into marks values ('kept')"));
    writer().stop();
    old_ = &leader();
    Node* replica = cluster().a_replica();
    ASSERT_TRUE(replica);
    EXPECT_TRUE(eventually(kLong, [&] { return marks(*replica) == "kept"; }));
    auto rows = ask(replica->superuser(), "select pid from pg_stat_wal_receiver");
    ASSERT_TRUE(rows && rows->size() == 1);
    const pid_t receiver = std::stoi(rows->at(0).at(0));
    kill_pids({receiver}, SIGSTOP);
    ASSERT_TRUE(cluster().sql("insert into marks values ('only-the-old-one-has-this')"));
    old_->kill_everything();
    kill_pids({receiver}, SIGKILL);
    ASSERT_TRUE(cluster().wait_primary(kLong, old_));
    // Enough for a copy that can be caught in the act.
    ASSERT_TRUE(cluster().sql("create table big as select i from generate_series(1, 1000000) i"));
    ASSERT_TRUE(cluster().sql("insert into marks values ('after')"));
  }
  std::string marks(const Node& node) {
    auto rows = ask(node.superuser(), "select string_agg(what, ' ' order by what) from marks");
    return rows ? rows->at(0).at(0) : "";
  }
  fs::path state() const { return old_->data().string() + ".pgsteady"; }
  // Waits for a job of the node that runs this program, and stops it in its tracks.
  void catch_job(const std::string& program) {
    pid_t found = 0;
    auto look = [&] {
      for (pid_t child : children_of(old_->guardian())) {
        auto arguments = arguments_of(child);
        if (!arguments.empty() && arguments[0].ends_with(program)) found = child;
      }
      return found != 0;
    };
    EXPECT_TRUE(eventually(kLong, look, Millis(1))) << program << " was never seen";
    kill_pids({found}, SIGSTOP);
  }
  void expect_rejoined(bool with_its_wal = true) {
    EXPECT_TRUE(cluster().wait_healthy(kLong));
    EXPECT_EQ(old_->role(), "standby");
    EXPECT_TRUE(eventually(kLong, [&] { return marks(*old_) == "after kept"; }));
    EXPECT_FALSE(fs::exists(state() / "job")) << "the marker is still there";
    auto find = "grep -rqs only-the-old-one-has-this " + (state() / "diverged").string();
    if (with_its_wal) {
      EXPECT_EQ(std::system(find.c_str()), 0) << "the row that nobody else has is not kept";
    }
    expect_no_split();
  }

  Node* old_ = nullptr;
};

TEST_F(Rejoin, TheAgentIsKilledDuringTheRewind) {
  part();
  old_->start();
  catch_job("pg_rewind");
  kill_pids({old_->agent()}, SIGKILL);
  expect_rejoined();
}

TEST_F(Rejoin, TheNodeIsKilledDuringTheRewind) {
  part();
  old_->start();
  catch_job("pg_rewind");
  old_->kill_everything();
  old_->start();
  expect_rejoined();
}

TEST_F(Rejoin, TheNodeIsKilledDuringTheCloneAfterARewindThatFailed) {
  part();
  // The WAL up to where the histories part is gone: pg_rewind cannot go back there.
  for (const auto& entry : fs::directory_iterator(old_->data() / "pg_wal")) {
    if (entry.is_regular_file()) fs::remove(entry.path());
  }
  old_->start();
  catch_job("pg_basebackup");
  old_->kill_everything();
  EXPECT_TRUE(fs::exists(state() / "job"));
  old_->start();
  catch_job("pg_basebackup");
  kill_pids({old_->agent()}, SIGKILL);
  expect_rejoined(false);
}

TEST_F(Rejoin, ACloneInPlaceOfARewindKeepsTheWal) {
  part();
  etcd().put(cluster().key("config"),
             "{\"ttl\":5,\"loop_wait\":1,\"retry_timeout\":3,"
             "\"postgresql\":{\"use_pg_rewind\":false}}");
  old_->start();
  expect_rejoined();
  EXPECT_TRUE(fs::exists(state() / "pg_basebackup.log"));
  EXPECT_FALSE(fs::exists(state() / "pg_rewind.log"));
}

TEST_F(Recovery, AReplicaOfAReplicaFollowsTheTags) {
  ClusterOptions options;
  options.nodes = 3;
  prepare(options);
  cluster().node(0).start();
  ASSERT_TRUE(cluster().wait_primary(kLong));
  std::ofstream(cluster().node(1).yaml(), std::ios::app) << "tags:\n  clonefrom: true\n";
  std::ofstream(cluster().node(2).yaml(), std::ios::app) << "tags:\n  replicatefrom: pg2\n";
  cluster().node(1).start();
  auto upstreams = [&](Node& node) {
    auto rows = ask(node.superuser(), "select count(*) from pg_stat_replication");
    return rows ? rows->at(0).at(0) : "";
  };
  ASSERT_TRUE(cluster().wait_healthy(kLong));
  let_pass(Millis(2000));  // its key says so
  cluster().node(2).start();
  EXPECT_TRUE(eventually(kLong, [&] { return upstreams(cluster().node(1)) == "1"; }));
  EXPECT_NE(tail(cluster().node(2).log(), 100).find("trying to bootstrap from replica 'pg2'"),
            std::string::npos);
  EXPECT_TRUE(eventually(kLong, [&] { return upstreams(cluster().node(0)) == "1"; }));
  auto slots = [&](Node& node) {
    auto rows = ask(node.superuser(),
                    "select string_agg(slot_name || ' ' || active, ', ' order by slot_name)"
                    " from pg_replication_slots");
    return rows ? rows->at(0).at(0) : "";
  };
  EXPECT_TRUE(eventually(kLong, [&] { return slots(cluster().node(1)) == "pg3 true"; }))
      << slots(cluster().node(1));
  EXPECT_EQ(slots(cluster().node(0)), "pg2 true");
  cluster().node(1).kill_everything();
  EXPECT_TRUE(cluster().wait_healthy(kLong)) << "the leader takes the place of the member";
  EXPECT_TRUE(eventually(kLong, [&] { return slots(cluster().node(0)) == "pg2 false, pg3 true"; }))
      << slots(cluster().node(0));
  cluster().node(1).start();
  EXPECT_TRUE(eventually(kLong, [&] { return slots(cluster().node(1)) == "pg3 true"; }))
      << slots(cluster().node(1));
}

}  // namespace
}  // namespace pgsteady::testing
