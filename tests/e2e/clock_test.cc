// The wall clock is set while the cluster runs. Nothing rests on it but what is shown to people, so
// nobody may notice.
#include <cstdlib>
#include <ctime>
#include <string_view>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

constexpr int kHour = 3600;

class WallClock : public E2e {
 protected:
  ClusterOptions with_clocks() {
    ClusterOptions options;
    options.clocks = &clocks_;
    return options;
  }
  // How far the node's wall clock is ahead, by the time at which it says to have read etcd.
  static long ahead(const Node& node) {
    constexpr std::string_view kName = "\"dcs_last_seen\":";
    auto reply = node.rest("/patroni");
    auto at = reply ? reply->body.find(kName) : std::string::npos;
    if (at == std::string::npos) return 0;
    return std::stol(reply->body.substr(at + kName.size(), 20)) - std::time(nullptr);
  }
  void expect_jump(int seconds) {
    for (auto& node : cluster().nodes()) {
      clocks_.set(node->name, std::chrono::seconds(seconds));
    }
    for (auto& node : cluster().nodes()) {
      EXPECT_TRUE(eventually(kLong, [&] { return std::abs(ahead(*node) - seconds) < 60; }))
          << node->name << " is ahead by " << ahead(*node) << " s";
    }
    let_pass(Millis(10000));  // two leases
  }

  bool is_registered(const Node& node) {
    return !etcd().get(cluster().key("members/" + node.name)).empty();
  }

  WallClocks clocks_{dir_.path()};
};

TEST_F(WallClock, SetAheadAndBackNobodyNotices) {
  ASSERT_EQ(WallClocks::missing(), "");
  run_cluster(with_clocks());
  Node& primary = leader();
  const pid_t server = primary.postmaster();
  expect_jump(kHour);
  expect_jump(-kHour);
  expect_jump(0);
  expect_undisturbed(primary, server);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

// The library fakes what programs read, not what the kernel waits for: whoever sleeps until a time
// of the wall clock sleeps an hour longer, as after a clock that was set back.
TEST_F(WallClock, EtcdIsReachedAgainThoughTheClockWasSetBack) {
  if (auto why = Network::missing(); !why.empty()) GTEST_SKIP() << why;
  ASSERT_EQ(WallClocks::missing(), "");
  run_networked(with_clocks());
  Node& replica = *cluster().a_replica();
  expect_jump(kHour);
  network().cut({replica.name}, {"etcd0", "etcd1", "etcd2"});
  EXPECT_TRUE(eventually(kLong, [&] { return !is_registered(replica); }));
  network().heal();
  EXPECT_TRUE(eventually(kLong, [&] { return is_registered(replica); }));
  expect_jump(0);
  expect_recovered();
  expect_nothing_lost();
  expect_no_split();
}

}  // namespace
}  // namespace pgsteady::testing
