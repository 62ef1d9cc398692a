// etcd goes away, comes back, loses its leader, or holds garbage; and garbage in HTTP requests.
#include <csignal>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

class EtcdFaults : public E2e {};

// With failsafe mode there is no outage at all: failsafe_test.cc.
TEST_F(EtcdFaults, AMinuteWithoutEtcdAndWithoutFailsafe) {
  ClusterOptions options;
  options.dcs.push_back("failsafe_mode: false");
  run_cluster(options);
  etcd().stop(0);
  let_pass(Millis(60000));
  etcd().start(0);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// Killed and started at once: its leases and its watches begin anew, about two seconds later.
TEST_F(EtcdFaults, AnEtcdThatRestartsDisturbsNobody) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  etcd().stop(0);
  etcd().start(0);
  let_pass(Millis(12000));
  expect_undisturbed(primary, server);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// Stopped by a signal, so that the three seconds are exact: a killed etcd needs two more to start.
TEST_F(EtcdFaults, ThreeSecondsWithoutEtcdDisturbNobody) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  etcd().freeze(0);
  let_pass(Millis(3000));
  etcd().thaw(0);
  let_pass(Millis(12000));
  expect_undisturbed(primary, server);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(EtcdFaults, TheLeaderOfThreeEtcdsDies) {
  run_cluster({}, 3);
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  int gone = etcd().leader();
  ASSERT_GE(gone, 0);
  etcd().stop(gone);
  let_pass(Millis(15000));
  expect_undisturbed(primary, server);
  etcd().start(gone);
  ASSERT_TRUE(etcd().wait_healthy(kLong));
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(EtcdFaults, GarbageInKeysDisturbsNobody) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  const std::string garbage[] = {"{\"ttl\": ",         "[[[[", "\xff\xfe\x01",
                                 "{\"ttl\":\"many\"}", "null", "-1"};
  const auto config = etcd().get(cluster().key("config"));
  auto is_put_back = [&](const std::string& text) {
    return eventually(kLong, [&] { return etcd().get(cluster().key("config")) == text; });
  };
  etcd().remove(cluster().key("config"));
  EXPECT_TRUE(is_put_back(config));
  for (const auto& text : garbage) {
    for (const char* key : {"config", "status", "failover", "sync", "history", "members/ghost",
                            "members/", "failsafe", "unknown/deep/key"}) {
      etcd().put(cluster().key(key), text);
    }
    etcd().put(cluster().key("members/" + replica->name), text);
    let_pass(Millis(1500));
  }
  expect_undisturbed(primary, server);
  EXPECT_TRUE(is_put_back("{\"ttl\":\"many\"}")) << "the last that could be read";
  // A replica that starts now reads all of it.
  auto status = replica->stop();
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, 0);
  replica->start();
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// Somebody else's value in the leader key: the primary must step down, and when the key is gone the
// cluster must find a leader again.
TEST_F(EtcdFaults, AnOverwrittenLeaderKeyStopsThePrimary) {
  run_cluster();
  Node& primary = leader();
  etcd().put(cluster().key("leader"), "nobody");
  EXPECT_TRUE(eventually(kLong, [&] { return primary.role() != "primary"; }));
  let_pass(Millis(6000));
  for (auto& node : cluster().nodes()) EXPECT_NE(node->role(), "primary") << node->name;
  etcd().remove(cluster().key("leader"));
  expect_recovered();
  expect_no_split();
}

TEST_F(EtcdFaults, GarbageInRequestsHarmsNoAgent) {
  run_cluster();
  Node& primary = leader();
  const pid_t server = primary.postmaster(), agent = primary.agent();
  const std::string long_line(200000, 'a');
  const std::string requests[] = {std::string("\0\xff\x16\x03\x01", 5),
                                  "GET\r\n\r\n",
                                  "GET /" + long_line + " HTTP/1.1\r\n\r\n",
                                  "GET / HTTP/9.9\r\n\r\n",
                                  "GET /patroni HTTP/1.1\r\nX: " + long_line + "\r\n\r\n",
                                  "POST /config HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
                                  "PATCH /config HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                                  "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                                  "GET /replica?lag=%%%&tag_ HTTP/1.1\r\n\r\n",
                                  "GET /patr",
                                  ""};
  for (const auto& request : requests) send_raw(primary.rest_port, request, Millis(1000));
  EXPECT_EQ(primary.rest("/no/such/path")->status, 503);
  EXPECT_THAT(
      send_raw(primary.rest_port, "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
               Millis(1000)),
      ::testing::StartsWith("HTTP/1.1 501"));
  EXPECT_EQ(primary.rest("/primary")->status, 200);
  EXPECT_EQ(primary.agent(), agent);
  expect_undisturbed(primary, server);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
