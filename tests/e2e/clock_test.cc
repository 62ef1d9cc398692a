// The wall clock is set while the cluster runs: by an hour ahead, then back. Nothing rests on it
// but what is shown to people, so nobody may notice.
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "fixture.h"

namespace pgsteady::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kHour = 3600;

// Debian's libfaketime: gives a process another wall clock, read anew from a file each second.
std::string faketime() {
  for (const auto& entry : fs::directory_iterator("/usr/lib")) {
    auto path = entry.path() / "faketime/libfaketimeMT.so.1";
    if (fs::exists(path)) return path;
  }
  return "";
}

class WallClock : public E2e {
 protected:
  void SetUp() override {
    E2e::SetUp();
    set_clocks(0);
  }
  void set_clocks(int seconds) {
    const auto file = dir_.path() / "clock", fresh = dir_.path() / "clock.new";
    std::ofstream(fresh) << (seconds < 0 ? "" : "+") << seconds << "\n";
    fs::permissions(fresh, fs::perms(0644));
    fs::rename(fresh, file);
  }
  ClusterOptions with_clocks() {
    ClusterOptions options;
    options.environment = {"LD_PRELOAD=" + faketime(),
                           "FAKETIME_TIMESTAMP_FILE=" + (dir_.path() / "clock").string(),
                           "FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"};
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
    set_clocks(seconds);
    for (auto& node : cluster().nodes()) {
      EXPECT_TRUE(eventually(kLong, [&] { return std::abs(ahead(*node) - seconds) < 60; }))
          << node->name << " is ahead by " << ahead(*node) << " s";
    }
    let_pass(Millis(10000));  // two leases
  }
};

TEST_F(WallClock, SetAheadAndBackNobodyNotices) {
  ASSERT_NE(faketime(), "");
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

}  // namespace
}  // namespace pgsteady::testing
