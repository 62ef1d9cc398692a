// The network comes apart, slows down, or works one way only, between nodes with a network
// namespace each and an etcd of three members. What may be lost of asynchronous commits is what
// docs/safety.md says, so each case says whether it covers them.
#include <algorithm>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

constexpr Millis kPartition{12000};  // more than two leases
const Network::Hosts kEtcds = {"etcd0", "etcd1", "etcd2"};

class Partition : public E2e {
 protected:
  void SetUp() override {
    if (auto why = Network::missing(); !why.empty()) GTEST_SKIP() << why;
    E2e::SetUp();
  }

  // All nodes but this one.
  Network::Hosts others(const Node& node) {
    Network::Hosts names;
    for (const auto& other : cluster().nodes()) {
      if (other.get() != &node) names.push_back(other->name);
    }
    return names;
  }
  Network::Hosts everybody_but(const Network::Hosts& names) {
    Network::Hosts rest;
    for (const auto& host : Network::of_cluster()) {
      if (host != "eye" && std::find(names.begin(), names.end(), host) == names.end()) {
        rest.push_back(host);
      }
    }
    return rest;
  }
  void heal_after(Millis time) {
    let_pass(time);
    EXPECT_THAT(watcher_->splits(), ::testing::IsEmpty());
    network().heal();
  }
  // Recovered with that node among the healthy, and whatever was lost had been acknowledged by it
  // and after `since`: what stood in its WAL alone.
  void expect_only_the_old_primary_lost(const Node& old, Clock::time_point since) {
    expect_recovered();
    writer().stop();
    auto account = writer().account();
    ASSERT_TRUE(account.has_value());
    EXPECT_THAT(account->doubled, ::testing::IsEmpty());
    for (const auto& ack : account->lost) {
      EXPECT_EQ(ack.port, old.sql_port) << "a write of another node is gone: " << ack.number;
      EXPECT_GE(ack.at, since) << "a write from before the fault is gone: " << ack.number;
    }
    RecordProperty("lost", static_cast<int>(account->lost.size()));
    expect_no_split();
  }
};

// Just before a fault: an acknowledged commit may not have left the primary yet.
Clock::time_point shortly_before() {
  return Clock::now() - Millis(200);
}

TEST_F(Partition, APrimaryWithoutEtcd) {
  run_networked();
  Node& primary = leader();
  const auto since = shortly_before();
  network().cut({primary.name}, kEtcds);
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
}

TEST_F(Partition, APrimaryCutOffFromEverything) {
  run_networked();
  Node& primary = leader();
  const auto since = shortly_before();
  network().cut({primary.name}, everybody_but({primary.name}));
  EXPECT_TRUE(cluster().wait_primary(kLong, &primary));
  EXPECT_TRUE(writer().wait_acks(100, kLong));
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
  EXPECT_EQ(primary.role(), "standby");
}

// It goes on alone; nothing that was acknowledged meanwhile may be lost when they are back.
TEST_F(Partition, APrimaryWithoutItsReplicas) {
  run_networked();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  network().cut({primary.name}, others(primary));
  EXPECT_TRUE(writer().wait_acks(500, kLong));
  heal_after(kPartition);
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Partition, AReplicaWithoutEtcdDisturbsNobody) {
  run_networked();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  Node* replica = cluster().a_replica();
  ASSERT_TRUE(replica);
  const pid_t standby = replica->postmaster();
  network().cut({replica->name}, kEtcds);
  heal_after(kPartition);
  expect_recovered();
  expect_undisturbed(primary, server);
  EXPECT_EQ(replica->postmaster(), standby);
  expect_nothing_lost();
  expect_no_split();
}

// etcd renews the lease for ever, and the primary cannot know.
TEST_F(Partition, APrimaryThatEtcdHearsButThatHearsNoEtcd) {
  run_networked();
  Node& primary = leader();
  const auto since = shortly_before();
  for (const auto& etcd : kEtcds) network().set(etcd, primary.name, {.cut = true});
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
}

TEST_F(Partition, APrimaryThatHearsEtcdAndIsNotHeard) {
  run_networked();
  Node& primary = leader();
  const auto since = shortly_before();
  for (const auto& etcd : kEtcds) network().set(primary.name, etcd, {.cut = true});
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
}

// With etcd's leader in the minority, an etcd that has not noticed yet would still renew.
TEST_F(Partition, APrimaryInTheMinorityWithEtcdsOldLeader) {
  run_networked();
  Node& primary = leader();
  int head = -1;
  ASSERT_TRUE(eventually(kLong, [&] { return (head = etcd().leader()) >= 0; }));
  const Network::Hosts minority = {primary.name, "etcd" + std::to_string(head)};
  const auto since = shortly_before();
  network().cut(minority, everybody_but(minority));
  EXPECT_TRUE(cluster().wait_primary(kLong, &primary));
  EXPECT_TRUE(writer().wait_acks(100, kLong));
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
}

// Its etcd alone is cut off from the other two: it has to find those.
TEST_F(Partition, AnEtcdCutOffFromTheOthersDisturbsNobody) {
  run_networked();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  int head = -1;
  ASSERT_TRUE(eventually(kLong, [&] { return (head = etcd().leader()) >= 0; }));
  const auto alone = "etcd" + std::to_string(head);
  for (const auto& other : kEtcds) network().cut({alone}, {other});
  heal_after(kPartition);
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Partition, ASlowWayToEtcdDisturbsNobody) {
  run_networked();
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  network().set_both({primary.name}, kEtcds, {.delay = Millis(100)});  // 200 ms there and back
  heal_after(kPartition);
  expect_recovered();
  expect_undisturbed(primary, server);
  expect_nothing_lost();
  expect_no_split();
}

TEST_F(Partition, AnEvenSlowerWayToEtcdKeepsTheClusterWhole) {
  run_networked();
  Node& primary = leader();
  const auto since = shortly_before();
  network().set_both({primary.name}, kEtcds, {.delay = Millis(200)});
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
}

TEST_F(Partition, ANetworkThatLosesATenthOfEverything) {
  run_networked();
  Node& primary = leader();
  const auto since = shortly_before();
  auto all = everybody_but({});
  network().set_both(all, all, {.loss = 0.1});
  heal_after(kPartition);
  expect_only_the_old_primary_lost(primary, since);
}

}  // namespace
}  // namespace pgsteady::testing
