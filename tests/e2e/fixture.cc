#include "fixture.h"

#include <sys/wait.h>

#include <iostream>
#include <stdexcept>

namespace pgsteady::testing {

void E2e::prepare(ClusterOptions options, int etcd_members) {
  etcd_ = std::make_unique<Etcd>(dir_.path(), etcd_members, options.network);
  cluster_ = std::make_unique<Cluster>(dir_.path(), *etcd_, std::move(options));
}

void E2e::run_cluster(ClusterOptions options, int etcd_members) {
  prepare(std::move(options), etcd_members);
  cluster_->start_all();
  if (!cluster_->wait_healthy(kLong))
    throw std::runtime_error("the cluster did not become healthy");
  watch();
}

void E2e::run_networked(ClusterOptions options) {
  network_ = std::make_unique<Network>(Network::of_cluster());
  network_->enter("eye");
  options.network = network_.get();
  run_cluster(std::move(options), 3);
}

void E2e::watch() {
  writer_ = std::make_unique<Writer>(*cluster_);
  watcher_ = std::make_unique<Watcher>(*cluster_);
  if (!writer_->wait_acks(50, kLong)) throw std::runtime_error("no writes: " + writer_->errors());
}

void E2e::TearDown() {
  if (writer_) writer_->stop();
  if (watcher_) watcher_->stop();
  if (HasFailure() && cluster_) {
    std::cerr << cluster_->logs(60) << "writer met:\n"
              << (writer_ ? writer_->errors() : "") << "\n";
  }
  writer_.reset();
  watcher_.reset();
  cluster_.reset();
  etcd_.reset();
  kill_orphans();
  network_.reset();
}

Node& E2e::leader() {
  Node* node = cluster_->wait_primary(kLong);
  if (!node) throw std::runtime_error("no primary");
  return *node;
}

void E2e::expect_undisturbed(const Node& node, pid_t postmaster) {
  EXPECT_EQ(node.postmaster(), postmaster) << "the server was restarted";
  EXPECT_EQ(node.role(), "primary");
  EXPECT_EQ(writer_->errors(), "");
}

void E2e::expect_recovered() {
  EXPECT_TRUE(cluster_->wait_healthy(kLong));
  EXPECT_TRUE(writer_->wait_acks(100, kLong));
  EXPECT_TRUE(watcher_->splits().empty());
}

void E2e::expect_nothing_lost() {
  writer_->stop();
  auto account = writer_->account();
  ASSERT_TRUE(account.has_value()) << "the primary cannot be asked";
  EXPECT_THAT(account->doubled, ::testing::IsEmpty());
  const auto& lost = account->lost;
  EXPECT_TRUE(lost.empty()) << lost.size() << " acknowledged writes are gone, from number "
                            << lost.front().number;
}

void E2e::expect_no_split() {
  watcher_->stop();
  EXPECT_FALSE(watcher_->probes().empty()) << "the watcher never met a writable node";
  EXPECT_THAT(watcher_->splits(), ::testing::IsEmpty());
}

void let_pass(Millis time) {
  eventually(time, [] { return false; });
}

Output pgsteady(const Cluster& cluster, const std::vector<std::string>& arguments) {
  auto log = cluster.bin_dir().parent_path() / "command.log";
  std::filesystem::remove(log);
  std::vector<std::string> argv = {cluster.bin_dir() / "pgsteady"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  Process process(argv, log);
  auto status = process.wait(Millis(30000));
  return {status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1, tail(log, 1000)};
}

}  // namespace pgsteady::testing
