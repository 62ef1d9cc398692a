// For tests only: real etcd processes on loopback, and a loop to receive what a Dcs posts.
#pragma once

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <mutex>
#include <random>
#include <thread>

#include "base/clock.h"
#include "base/process.h"
#include "dcs/dcs.h"

extern char** environ;

namespace pgsteady::dcs::testing {

using namespace std::chrono_literals;

// A free port of loopback, below the kernel's own range.
inline int free_port() {
  static std::mt19937 random(std::random_device{}());
  for (;;) {
    int port = std::uniform_int_distribution(12000, 31000)(random);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (free) return port;
  }
}

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/pgsteady-dcs-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path;
};

// One etcd process; killed when it goes out of scope.
class EtcdServer {
 public:
  EtcdServer(const std::string& data_dir, int client_port, std::vector<std::string> more)
      : port(client_port), scheme("http") {
    for (const auto& option : more) {
      if (option.starts_with("--cert-file")) scheme = "https";
    }
    int peer = free_port();
    arguments_ = {"/usr/bin/etcd",
                  "--data-dir=" + data_dir,
                  "--unsafe-no-fsync",
                  "--logger=zap",
                  "--log-level=error",
                  "--log-outputs=/dev/null",
                  fmt::format("--listen-client-urls={}://127.0.0.1:{}", scheme, port),
                  fmt::format("--advertise-client-urls={}://127.0.0.1:{}", scheme, port)};
    bool member = false;
    for (const auto& option : more) member = member || option.starts_with("--initial-cluster=");
    if (!member) {
      arguments_.push_back(fmt::format("--listen-peer-urls=http://127.0.0.1:{}", peer));
      arguments_.push_back(fmt::format("--initial-advertise-peer-urls=http://127.0.0.1:{}", peer));
      arguments_.push_back(fmt::format("--initial-cluster=default=http://127.0.0.1:{}", peer));
    }
    arguments_.insert(arguments_.end(), more.begin(), more.end());
  }
  ~EtcdServer() { kill_now(); }
  EtcdServer(const EtcdServer&) = delete;
  EtcdServer& operator=(const EtcdServer&) = delete;

  void spawn() {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    for (int fd = 0; fd < 3; ++fd) {
      posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    }
    std::vector<char*> argv;
    for (auto& argument : arguments_) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ASSERT_EQ(posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&files);
  }
  void kill_now() {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    pid = 0;
  }
  void freeze() const { kill(pid, SIGSTOP); }
  void thaw() const { kill(pid, SIGCONT); }
  std::string address() const { return fmt::format("127.0.0.1:{}", port); }

  // etcdctl as an independent witness; its output without the last newline.
  std::string ctl(std::vector<std::string> words, bool may_fail = false) const {
    std::vector<std::string> argv{"etcdctl",
                                  fmt::format("--endpoints={}://127.0.0.1:{}", scheme, port)};
    argv.insert(argv.end(), ctl_options.begin(), ctl_options.end());
    argv.insert(argv.end(), words.begin(), words.end());
    auto result = run_process(argv, {"ETCDCTL_API=3"}, 10s);
    if (!result || result->exit_code != 0) {
      if (!may_fail) ADD_FAILURE() << words[0] << ": " << (result ? result->output : "timeout");
      return "";
    }
    auto text = result->output;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }
  void wait_ready() const {
    auto until = boottime_now() + 20s;
    while (boottime_now() < until) {
      if (!ctl({"get", "ready"}, true).empty() || healthy()) return;
      std::this_thread::sleep_for(50ms);
    }
    FAIL() << "etcd did not start on port " << port;
  }
  bool healthy() const { return ctl({"endpoint", "health"}, true).find("is healthy") != npos; }

  int port = 0;
  std::string scheme;
  pid_t pid = 0;
  std::vector<std::string> ctl_options;

 private:
  static constexpr auto npos = std::string::npos;
  std::vector<std::string> arguments_;
};

// One etcd of its own for a test, with its data in a directory that goes away.
class OneEtcd : public EtcdServer {
 public:
  explicit OneEtcd(std::vector<std::string> more = {}, std::vector<std::string> for_ctl = {})
      : OneEtcd(std::make_unique<TempDir>(), std::move(more), std::move(for_ctl)) {}

 private:
  OneEtcd(std::unique_ptr<TempDir> dir, std::vector<std::string> more,
          std::vector<std::string> for_ctl)
      : EtcdServer(dir->path + "/etcd", free_port(), std::move(more)), dir_(std::move(dir)) {
    ctl_options = std::move(for_ctl);
    spawn();
    wait_ready();
  }
  std::unique_ptr<TempDir> dir_;
};

class ThreeEtcds {
 public:
  ThreeEtcds() {
    std::string cluster;
    int peers[3];
    for (int i = 0; i < 3; ++i) {
      peers[i] = free_port();
      cluster += fmt::format("{}m{}=http://127.0.0.1:{}", i ? "," : "", i, peers[i]);
    }
    for (int i = 0; i < 3; ++i) {
      auto peer = fmt::format("http://127.0.0.1:{}", peers[i]);
      members.push_back(std::make_unique<EtcdServer>(
          fmt::format("{}/m{}", dir_.path, i), free_port(),
          std::vector<std::string>{fmt::format("--name=m{}", i), "--listen-peer-urls=" + peer,
                                   "--initial-advertise-peer-urls=" + peer,
                                   "--initial-cluster=" + cluster}));
      members.back()->spawn();
    }
    for (auto& member : members) member->wait_ready();
  }
  std::vector<std::string> addresses() const {
    std::vector<std::string> result;
    for (const auto& member : members) result.push_back(member->address());
    return result;
  }
  // The member that leads; "endpoint status" prints it in the fifth column.
  EtcdServer& leader() {
    for (auto& member : members) {
      if (member->ctl({"endpoint", "status"}).find(", true, ") != std::string::npos) return *member;
    }
    ADD_FAILURE() << "no etcd member leads";
    return *members[0];
  }
  std::vector<std::unique_ptr<EtcdServer>> members;

 private:
  TempDir dir_;
};

// The loop's thread, played by the test: what was posted is run in run_until().
class Loop {
 public:
  Post post() {
    return [this](std::function<void()> task) {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    };
  }
  template <typename Done>
  bool run_until(Done done, std::chrono::milliseconds limit = 20s) {
    auto until = boottime_now() + limit;
    for (;;) {
      run_some();
      if (done()) return true;
      if (boottime_now() > until) return false;
      std::this_thread::sleep_for(2ms);
    }
  }
  void run_for(std::chrono::milliseconds time) {
    run_until([] { return false; }, time);
  }
  // Makes a call and waits for its one answer.
  template <typename T>
  Result<T> answer(const std::function<void(Callback<T>)>& call,
                   std::chrono::milliseconds limit = 20s) {
    auto result = std::make_shared<std::optional<Result<T>>>();
    call([result](Result<T> got) {
      EXPECT_FALSE(result->has_value()) << "answered twice";
      *result = std::move(got);
    });
    if (!run_until([&] { return result->has_value(); }, limit)) {
      ADD_FAILURE() << "no answer at all";
      return fail(ErrorKind::fatal, "no answer at all");
    }
    return **result;
  }

 private:
  void run_some() {
    for (;;) {
      std::function<void()> task;
      {
        std::lock_guard lock(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
};

// A Dcs whose calls wait for their answers.
class Client {
 public:
  explicit Client(Options options) { dcs = make_etcd(std::move(options), loop.post()); }
  explicit Client(std::vector<std::string> endpoints)
      : Client(Options{std::move(endpoints), "/service/demo/", false, {}, {}, {}, {}, {}}) {}

  Result<Snapshot> read(std::chrono::milliseconds limit = 5s) {
    return loop.answer<Snapshot>([&](auto done) { dcs->read(limit, done); });
  }
  Result<TxnResult> commit(const Txn& txn, std::chrono::milliseconds limit = 5s) {
    return loop.answer<TxnResult>([&](auto done) { dcs->commit(txn, limit, done); });
  }
  Result<TxnResult> put(std::string key, std::string value, std::int64_t lease = 0) {
    return commit({{}, {Operation::put(std::move(key), std::move(value), lease)}});
  }
  Result<LeaseGrant> grant(std::chrono::seconds ttl) {
    return loop.answer<LeaseGrant>([&](auto done) { dcs->grant_lease(ttl, 5s, done); });
  }
  Result<std::int64_t> revoke(std::int64_t lease) {
    return loop.answer<std::int64_t>([&](auto done) { dcs->revoke_lease(lease, 5s, done); });
  }
  Result<LeaseRemaining> remaining(std::int64_t lease) {
    return loop.answer<LeaseRemaining>([&](auto done) { dcs->lease_remaining(lease, 5s, done); });
  }
  std::optional<KeyValue> key(const std::string& name) {
    auto snapshot = read();
    EXPECT_TRUE(snapshot) << snapshot.error().message;
    if (!snapshot) return std::nullopt;
    for (auto& found : snapshot->keys) {
      if (found.key == name) return found;
    }
    return std::nullopt;
  }

  Loop loop;
  std::unique_ptr<Dcs> dcs;
};

}  // namespace pgsteady::dcs::testing
