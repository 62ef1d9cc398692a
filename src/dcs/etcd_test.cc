// The Dcs against a real etcd.
#include "dcs/etcd_fixture.h"

namespace pgsteady::dcs::testing {
namespace {

TEST(Etcd, ReadsWhatStandsBelowThePrefixAtOneRevision) {
  OneEtcd etcd;
  Client client({etcd.address()});
  etcd.ctl({"put", "/service/demo/leader", "pg1"});
  etcd.ctl({"put", "/service/demo/members/pg1", "{}"});
  etcd.ctl({"put", "/service/demo2/leader", "other"});
  etcd.ctl({"put", "/service/dem", "other"});

  auto before = boottime_now();
  auto snapshot = client.read();
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  ASSERT_EQ(snapshot->keys.size(), 2u);
  EXPECT_EQ(snapshot->keys[0], (KeyValue{"leader", "pg1", 2, 2, 0}));
  EXPECT_EQ(snapshot->keys[1].key, "members/pg1");
  EXPECT_EQ(snapshot->revision, 5);
  EXPECT_GE(snapshot->sent_at, before);
  EXPECT_LE(snapshot->sent_at, boottime_now());
}

TEST(Etcd, CommitsWhenAllComparesHoldAndOnlyThen) {
  OneEtcd etcd;
  Client client({etcd.address()});
  auto tried = [&](Compare compare) {
    auto result = client.commit({{std::move(compare)}, {Operation::put("probe", "x")}});
    EXPECT_TRUE(result) << result.error().message;
    return result && result->succeeded;
  };

  auto first = client.commit({{Compare::absent("leader")}, {Operation::put("leader", "pg1")}});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->succeeded);
  auto key = client.key("leader");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->mod_revision, first->revision);

  EXPECT_FALSE(tried(Compare::absent("leader")));
  EXPECT_FALSE(client.key("probe"));
  EXPECT_TRUE(tried(Compare::absent("nobody")));
  EXPECT_TRUE(tried(Compare::unchanged("leader", key->mod_revision)));
  EXPECT_FALSE(tried(Compare::unchanged("leader", key->mod_revision + 1)));
  EXPECT_TRUE(tried(Compare::unchanged("nobody", 0)));
  EXPECT_TRUE(tried(Compare::none_newer("unfenced/", 1))) << "nothing there";
  auto other = client.commit({{}, {Operation::put("unfenced/pg2", "x")}});
  ASSERT_TRUE(other && other->succeeded);
  EXPECT_FALSE(tried(Compare::none_newer("unfenced/", other->revision - 1)));
  EXPECT_TRUE(tried(Compare::none_newer("unfenced/", other->revision)));
}

TEST(Etcd, CarriesOutAllOperationsAtOneRevision) {
  OneEtcd etcd;
  Client client({etcd.address()});
  auto put = client.put("leader", "pg1");
  ASSERT_TRUE(put);
  auto result =
      client.commit({{Compare::unchanged("leader", put->revision), Compare::absent("release")},
                     {Operation::remove("leader"), Operation::put("release", "{}"),
                      Operation::put("status", "1")}});
  ASSERT_TRUE(result && result->succeeded);
  auto snapshot = client.read();
  ASSERT_TRUE(snapshot);
  ASSERT_EQ(snapshot->keys.size(), 2u);
  for (const auto& key : snapshot->keys) EXPECT_EQ(key.mod_revision, result->revision);
  EXPECT_EQ(snapshot->revision, result->revision);
}

TEST(Etcd, LeaseIsGrantedCountsDownAndIsRevoked) {
  OneEtcd etcd;
  Client client({etcd.address()});
  auto lease = client.grant(1s);
  ASSERT_TRUE(lease) << lease.error().message;
  EXPECT_GE(lease->ttl, 2s) << "etcd grants no less";

  lease = client.grant(30s);
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->ttl, 30s);
  ASSERT_TRUE(client.put("members/pg1", "{}", lease->id));
  auto key = client.key("members/pg1");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->lease, lease->id);
  auto left = client.remaining(lease->id);
  ASSERT_TRUE(left) << left.error().message;
  EXPECT_EQ(left->granted_seconds, 30);
  EXPECT_GT(left->remaining_seconds, 20);
  EXPECT_LE(left->remaining_seconds, 30);
  EXPECT_GT(left->term, 0u);
  EXPECT_GE(left->received_at, left->sent_at);

  EXPECT_TRUE(client.revoke(lease->id));
  EXPECT_FALSE(client.key("members/pg1"));
  left = client.remaining(lease->id);
  ASSERT_TRUE(left);
  EXPECT_EQ(left->remaining_seconds, -1);
  auto again = client.revoke(lease->id);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::not_found);
  auto put = client.put("members/pg1", "{}", lease->id);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().kind, ErrorKind::not_found);
}

TEST(Etcd, LeaseThatNobodyRenewsTakesItsKeysAlong) {
  OneEtcd etcd;
  Client client({etcd.address()});
  auto lease = client.grant(2s);
  ASSERT_TRUE(lease);
  ASSERT_TRUE(client.put("leader", "pg1", lease->id));
  EXPECT_TRUE(client.loop.run_until([&] { return !client.key("leader"); }));
}

TEST(Etcd, WatchTellsOfChangesAlsoAfterRestartAndCompaction) {
  OneEtcd etcd;
  Client client({etcd.address()});
  int changes = 0;
  client.dcs->watch([&] { ++changes; });
  ASSERT_TRUE(client.loop.run_until([&] { return changes >= 1; })) << "not when it stands";
  auto told_after = [&](const std::function<void()>& act) {
    client.loop.run_for(200ms);
    int before = changes;
    act();
    return client.loop.run_until([&] { return changes > before; });
  };
  EXPECT_TRUE(told_after([&] { etcd.ctl({"put", "/service/demo/leader", "pg1"}); }));
  EXPECT_TRUE(told_after([&] { etcd.ctl({"del", "/service/demo/leader"}); }));

  client.loop.run_for(200ms);
  int before = changes;
  etcd.ctl({"put", "/service/other/leader", "pg1"});
  client.loop.run_for(300ms);
  EXPECT_EQ(changes, before) << "told of a foreign key";

  EXPECT_TRUE(told_after([&] { etcd.kill_now(); })) << "not when it is lost";
  EXPECT_TRUE(told_after([&] { etcd.spawn(); })) << "not when it stands again";
  etcd.wait_ready();
  ASSERT_TRUE(client.loop.run_until([&] { return bool(client.read()); }));
  EXPECT_TRUE(told_after([&] { etcd.ctl({"put", "/service/demo/leader", "pg2"}); }));

  auto revision = client.read()->revision;
  etcd.ctl({"compact", std::to_string(revision)});
  EXPECT_TRUE(told_after([&] { etcd.ctl({"put", "/service/demo/leader", "pg3"}); }));
}

TEST(Etcd, NobodyThereIsAnErrorToRetryWithinTheDeadline) {
  Client client({fmt::format("127.0.0.1:{}", free_port())});
  auto began = boottime_now();
  auto snapshot = client.read(500ms);
  auto committed = client.commit({{}, {Operation::put("a", "b")}}, 500ms);
  EXPECT_LT(boottime_now() - began, 8s);
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::retry) << snapshot.error().text();
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().kind, ErrorKind::retry) << committed.error().text();
}

TEST(Etcd, HungEtcdEndsAtTheDeadlineAndRecovers) {
  OneEtcd etcd;
  Client client({etcd.address()});
  ASSERT_TRUE(client.read());
  etcd.freeze();
  auto began = boottime_now();
  auto snapshot = client.read(500ms);
  auto committed = client.commit({{}, {Operation::put("a", "b")}}, 500ms);
  EXPECT_LT(boottime_now() - began, 8s);
  etcd.thaw();
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::retry) << snapshot.error().text();
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.error().kind, ErrorKind::retry) << committed.error().text();
  EXPECT_TRUE(client.read());
  EXPECT_TRUE(client.put("a", "c"));
}

TEST(Etcd, GoesOnToTheNextEndpointWhenTheFirstIsDead) {
  OneEtcd etcd;
  Client client({fmt::format("127.0.0.1:{}", free_port()), etcd.address()});
  auto committed = client.commit({{}, {Operation::put("a", "b")}}, 5s);
  ASSERT_TRUE(committed) << committed.error().text();
  Client other({fmt::format("127.0.0.1:{}", free_port()), etcd.address()});
  auto snapshot = other.read(5s);
  ASSERT_TRUE(snapshot) << snapshot.error().text();
  EXPECT_EQ(snapshot->keys.size(), 1u);
}

TEST(Etcd, TakesNamesAndGoesOnFromOneThatDoesNotResolve) {
  OneEtcd etcd;
  Client client({"no-such-host.invalid:2379", fmt::format("localhost:{}", etcd.port)});
  auto committed = client.commit({{}, {Operation::put("a", "b")}}, 8s);
  EXPECT_TRUE(committed) << committed.error().text();
  auto snapshot = client.read(8s);
  EXPECT_TRUE(snapshot) << snapshot.error().text();
}

TEST(Etcd, NothingIsAnsweredOnceTheDcsIsGone) {
  OneEtcd etcd;
  Client client({etcd.address()});
  int answers = 0;
  client.dcs->watch([&] { ++answers; });
  for (int i = 0; i < 20; ++i) client.dcs->read(5s, [&](auto) { ++answers; });
  std::this_thread::sleep_for(500ms);  // by now there are messages that nobody has taken yet
  client.dcs.reset();
  client.loop.run_for(100ms);
  EXPECT_EQ(answers, 0);
}

TEST(Etcd, FrozenMemberOfThreeCostsAReadOnlyItsShareOfTheTime) {
  ThreeEtcds etcds;
  Client client(etcds.addresses());
  ASSERT_TRUE(client.put("a", "b"));
  auto& first = *etcds.members[0];
  first.freeze();
  for (int i = 0; i < 5; ++i) {
    auto snapshot = client.read(6s);
    EXPECT_TRUE(snapshot) << snapshot.error().text();
  }
  first.thaw();
}

TEST(Etcd, TransactionWhoseFateIsNotKnownIsNotSentAgain) {
  ThreeEtcds etcds;
  Client client(etcds.addresses());
  ASSERT_TRUE(client.put("a", "b"));
  etcds.members[0]->freeze();
  auto result = std::make_shared<std::optional<Result<TxnResult>>>();
  client.dcs->commit({{}, {Operation::put("a", "c")}}, 10s, [result](auto got) { *result = got; });
  client.loop.run_for(500ms);
  etcds.members[0]->kill_now();
  ASSERT_TRUE(client.loop.run_until([&] { return result->has_value(); }));
  ASSERT_FALSE(**result);
  EXPECT_EQ((*result)->error().kind, ErrorKind::retry);
  EXPECT_NE((*result)->error().message.find("not known"), std::string::npos);
  auto key = client.key("a");
  ASSERT_TRUE(key);
  EXPECT_EQ(key->value, "b");
}

TEST(Etcd, WatchMovesAwayFromAFrozenMember) {
  ThreeEtcds etcds;
  Client client(etcds.addresses());
  ASSERT_TRUE(client.put("a", "b"));
  int changes = 0;
  client.dcs->watch([&] { ++changes; });
  ASSERT_TRUE(client.loop.run_until([&] { return changes > 0; }));
  etcds.members[0]->freeze();    // where the watch is
  EXPECT_TRUE(client.read(9s));  // it may have been raft's leader: an election, or two
  client.loop.run_for(1500ms);
  int before = changes;
  etcds.members[1]->ctl({"put", "/service/demo/a", "c"});
  EXPECT_TRUE(client.loop.run_until([&] { return changes > before; }));
  etcds.members[0]->thaw();
}

TEST(Etcd, WatchAtAMemberWithoutALeaderIsLost) {
  ThreeEtcds etcds;
  Client client({etcds.members[0]->address()});
  int changes = 0;
  client.dcs->watch([&] { ++changes; });
  ASSERT_TRUE(client.loop.run_until([&] { return changes > 0; }));
  client.loop.run_for(300ms);
  int before = changes;
  etcds.members[1]->kill_now();
  etcds.members[2]->kill_now();
  EXPECT_TRUE(client.loop.run_until([&] { return changes > before; }));
  auto snapshot = client.read(500ms);
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().kind, ErrorKind::retry) << snapshot.error().text();
}

}  // namespace
}  // namespace pgsteady::dcs::testing
