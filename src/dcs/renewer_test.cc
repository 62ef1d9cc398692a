// The renewer against a real etcd: what counts, what is lost, and what is not extended meanwhile.
#include "dcs/renewer.h"

#include <atomic>

#include "dcs/etcd_fixture.h"

namespace pgsteady::dcs::testing {
namespace {

using State = lease::Renewal::State;

// A member with a lease, a leader key on it, and a renewer.
class Holder {
 public:
  explicit Holder(const std::vector<std::string>& endpoints) : client(endpoints) {
    options.endpoints = endpoints;
    options.prefix = "/service/demo/";
  }
  void start(std::chrono::seconds ttl = 5s) {
    RenewerHooks hooks;
    hooks.extend = [this](const lease::Epoch& held, lease::Instant deadline, lease::Duration) {
      EXPECT_TRUE(held.valid());
      last_deadline = deadline.time_since_epoch().count();
      ++extends;
    };
    hooks.may_renew = [this] { return may_renew.load(); };
    hooks.report = [this](RenewalReport report) {
      reports.push_back(report);
      last = report;
    };
    renewer = make_renewer(options, "pg1", hooks, client.loop.post());
    auto grant = client.grant(ttl);
    ASSERT_TRUE(grant) << grant.error().text();
    lease = grant->id;
    renewer->adopt(grant->id, grant->ttl, lease::Instant(grant->sent_at));
  }
  void take_key() {
    auto result = client.commit({{}, {Operation::put("leader", "pg1", lease)}});
    ASSERT_TRUE(result) << result.error().text();
    epoch = {lease, result->revision};
    renewer->hold(epoch);
  }
  bool counts_again(int times = 2) {
    int before = extends;
    return client.loop.run_until([&] { return extends >= before + times; });
  }
  // start() and take_key(), until renewals count.
  bool leads(std::chrono::seconds ttl = 5s) {
    start(ttl);
    take_key();
    return counts_again();
  }
  bool extends_nothing(std::chrono::milliseconds time) {
    int before = extends;
    client.loop.run_for(time);
    return extends == before;
  }
  bool reaches(State state) {
    return client.loop.run_until([&] { return last && last->state == state; });
  }

  Client client;
  Options options;
  std::int64_t lease = 0;
  lease::Epoch epoch;
  std::atomic<int> extends = 0;
  std::atomic<std::int64_t> last_deadline = 0;
  std::atomic<bool> may_renew = true;
  std::vector<RenewalReport> reports;
  std::optional<RenewalReport> last;
  std::unique_ptr<Renewer> renewer;  // first to go
};

TEST(Renewer, KeepsALeaseAliveWithAndWithoutAKey) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  holder.start(2s);
  holder.client.loop.run_for(5s);
  EXPECT_EQ(holder.extends, 0) << "without a key there is nothing to extend";
  ASSERT_TRUE(holder.last && holder.last->counted);
  EXPECT_EQ(holder.last->state, State::alive);
  EXPECT_FALSE(holder.last->held_until);
  EXPECT_GT(holder.client.remaining(holder.lease)->remaining_seconds, -1);

  holder.take_key();
  ASSERT_TRUE(holder.counts_again(4));
  ASSERT_TRUE(holder.last->epoch && holder.last->held_until);
  EXPECT_EQ(*holder.last->epoch, holder.epoch);
  EXPECT_EQ(*holder.last->held_until, lease::deadline(*holder.last->counted, 2s));
  EXPECT_GT(holder.last_deadline, boottime_now().count());
  EXPECT_GT(holder.last->latency.count(), 0);

  holder.renewer->let_go();
  ASSERT_TRUE(holder.client.loop.run_until([&] { return !holder.last->epoch; }));
  EXPECT_TRUE(holder.extends_nothing(1500ms));
  EXPECT_EQ(holder.last->state, State::alive);
}

TEST(Renewer, WritesNothingToEtcd) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  ASSERT_TRUE(holder.leads(2s));
  auto raft_index = [&] {
    // "endpoint status": ..., raft term, raft index, applied index, errors
    auto text = etcd.ctl({"endpoint", "status"});
    return text.substr(text.find(", true, "));
  };
  auto before = raft_index();
  ASSERT_TRUE(holder.counts_again(5));
  EXPECT_EQ(raft_index(), before);
}

TEST(Renewer, SeesAKeyThatSomeoneOverwrote) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  ASSERT_TRUE(holder.leads());
  etcd.ctl({"put", "/service/demo/leader", "pg1"});  // the same name, but another revision
  EXPECT_TRUE(holder.reaches(State::key_lost));
  EXPECT_FALSE(holder.last->held_until);
  EXPECT_TRUE(holder.extends_nothing(1500ms));
  EXPECT_GT(holder.client.remaining(holder.lease)->remaining_seconds, 2) << "the lease lives on";
}

TEST(Renewer, SeesALeaseThatIsGone) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  ASSERT_TRUE(holder.leads());
  ASSERT_TRUE(holder.client.revoke(holder.lease));
  EXPECT_TRUE(holder.client.loop.run_until([&] { return holder.last->state != State::alive; }));
  holder.renewer->let_go();
  EXPECT_TRUE(holder.reaches(State::lease_lost));
  EXPECT_TRUE(holder.extends_nothing(500ms));

  auto grant = holder.client.grant(5s);
  ASSERT_TRUE(grant);
  holder.lease = grant->id;
  holder.renewer->adopt(grant->id, grant->ttl, lease::Instant(grant->sent_at));
  holder.take_key();
  EXPECT_TRUE(holder.counts_again());
}

TEST(Renewer, FrozenEtcdExtendsNothingAndCountsAgainAfterwards) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  ASSERT_TRUE(holder.leads());
  etcd.freeze();
  holder.client.loop.run_for(200ms);  // what etcd had sent before may still come in
  EXPECT_TRUE(holder.extends_nothing(1500ms));
  etcd.thaw();
  EXPECT_TRUE(holder.counts_again());
  EXPECT_EQ(holder.last->state, State::alive);
}

TEST(Renewer, SendsNothingWhileItMayNot) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  ASSERT_TRUE(holder.leads(2s));
  holder.may_renew = false;
  EXPECT_TRUE(holder.client.loop.run_until([&] {
    return holder.client.remaining(holder.lease)->remaining_seconds < 0;
  })) << "the lease was kept alive";
  holder.may_renew = true;
  EXPECT_TRUE(holder.client.loop.run_until([&] { return holder.last->state != State::alive; }));
}

TEST(Renewer, GoesOnWhenTheFirstEndpointIsDead) {
  OneEtcd etcd;
  Holder holder({fmt::format("127.0.0.1:{}", free_port()), etcd.address()});
  holder.start();
  holder.take_key();
  EXPECT_TRUE(holder.counts_again(4));
}

TEST(Renewer, OutlivesTheDeathOfEtcdsLeader) {
  ThreeEtcds etcds;
  Holder holder(etcds.addresses());
  ASSERT_TRUE(holder.leads(10s));
  etcds.leader().kill_now();
  EXPECT_TRUE(holder.counts_again(4));
  EXPECT_EQ(holder.last->state, State::alive);
  for (const auto& report : holder.reports) EXPECT_EQ(report.state, State::alive);
}

TEST(Renewer, OutlivesAFrozenMember) {
  ThreeEtcds etcds;
  Holder holder(etcds.addresses());
  ASSERT_TRUE(holder.leads(10s));
  for (auto& member : etcds.members) {
    member->freeze();
    EXPECT_TRUE(holder.counts_again(3)) << member->address();
    member->thaw();
  }
  for (const auto& report : holder.reports) EXPECT_EQ(report.state, State::alive);
}

TEST(Renewer, EndsWhileEtcdIsHung) {
  OneEtcd etcd;
  Holder holder({etcd.address()});
  ASSERT_TRUE(holder.leads());
  etcd.freeze();
  holder.client.loop.run_for(500ms);
  auto began = boottime_now();
  holder.renewer.reset();
  EXPECT_LT(boottime_now() - began, 2s);
}

}  // namespace
}  // namespace pgsteady::dcs::testing
