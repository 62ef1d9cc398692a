#include "chaos/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <stdexcept>

namespace pgsteady::chaos {
namespace fs = std::filesystem;
using testing::ask;
using testing::eventually;
namespace {

constexpr Millis kStart{90000};

constexpr int kDiskMegabytes = 4096;  // as far as it is written to

}  // namespace

World::World(const fs::path& programs) : network_(Network::of_cluster()) {
  network_.enter("eye");
  make_disks();
  if (WallClocks::missing().empty()) clocks_.emplace(dir_.path());
  etcd_ = std::make_unique<Etcd>(dir_.path(), 3, &network_);
  cluster_ = std::make_unique<Cluster>(dir_.path(), *etcd_, options(programs));
  cluster_->start_all();
  if (!cluster_->wait_healthy(kStart)) {
    throw std::runtime_error("the cluster did not become healthy:\n" + cluster_->logs(40));
  }
  writer_ = std::make_unique<Writer>(*cluster_);
  watcher_ = std::make_unique<Watcher>(*cluster_);
}

void World::make_disks() {
  if (!FreezableDisk::missing().empty()) return;
  for (const char* node : {"pg1", "pg2", "pg3"}) {
    disks_[node] = std::make_unique<FreezableDisk>(dir_.path() / (std::string("disk-") + node),
                                                   kDiskMegabytes);
  }
}

testing::ClusterOptions World::options(const fs::path& programs) {
  testing::ClusterOptions result;
  result.scope = "chaos";
  result.network = &network_;
  result.programs = programs;
  result.clocks = clocks();
  for (const auto& [node, disk] : disks_) result.data_dirs[node] = disk->path() / "data";
  return result;
}

World::~World() {
  for (auto& [node, disk] : disks_) disk->thaw();
  if (writer_) writer_->stop();
  if (watcher_) watcher_->stop();
  watcher_.reset();
  writer_.reset();
  cluster_.reset();
  etcd_.reset();
  testing::kill_orphans();
}

void World::begin_round() {
  Node* primary = cluster_->wait_primary(Millis(10000));
  if (!primary) throw std::runtime_error("there is no primary to begin with");
  nodes_ = {primary};
  for (const auto& node : cluster_->nodes()) {
    if (node.get() != primary) nodes_.push_back(node.get());
  }
}

void World::set_synchronous(bool on) {
  if (on == synchronous_) return;
  const auto patch = fmt::format(R"({{"synchronous_mode":{}}})", on);
  const auto asked = [&] {
    Node* primary = cluster_->primary();
    return primary && primary->rest("PATCH", "/config", patch).starts_with("200 ");
  };
  // The key names a standby only while the primary waits for it.
  const auto followed = [&] {
    try {
      const auto key = etcd_->get(cluster_->key("sync"));
      return (key.find("\"sync_standby\":\"") != std::string::npos) == on;
    } catch (const std::runtime_error&) {  // etcd may still be about to answer again
      return false;
    }
  };
  if (!eventually(kStart, asked) || !eventually(kStart, followed) ||
      !writer_->wait_acks(20, kStart)) {
    throw std::runtime_error(fmt::format("synchronous_mode: {} does not take effect", on));
  }
  synchronous_ = on;
}

Node& World::a_node(Dice& dice) const {
  return dice.chance(0.6) ? *nodes_.front() : *dice.one_of(nodes_);
}

void World::freeze(const std::vector<pid_t>& pids) {
  testing::kill_pids(pids, SIGSTOP);
  frozen_.insert(pids.begin(), pids.end());
}

void World::thaw(std::vector<pid_t> pids, Dice& dice) {
  std::shuffle(pids.begin(), pids.end(), dice.engine());
  for (pid_t pid : pids) {
    if (testing::state_of(pid) == 'T') kill(pid, SIGCONT);
    frozen_.erase(pid);
  }
}

void World::heal(Dice& dice) {
  network_.heal();
  for (auto& [node, disk] : disks_) {
    disk->thaw();
    testing::clear_disk(disk->path());
  }
  thaw({frozen_.begin(), frozen_.end()}, dice);
  if (clocks_) {
    for (const auto& node : cluster_->nodes()) clocks_->set(node->name, std::chrono::seconds(0));
  }
  for (int i = 0; i < etcd_->members(); ++i) etcd_->thaw(i);
  etcd_->start_all();
  cluster_->start_all();
}

bool World::converges(Millis limit) {
  const auto deadline = Clock::now() + limit;
  const auto left = [&] { return std::chrono::duration_cast<Millis>(deadline - Clock::now()); };
  return cluster_->wait_healthy(left()) && writer_->wait_acks(20, left()) && replicas_agree(left());
}

// A replica can stream happily from a primary whose history it does not share.
bool World::replicas_agree(Millis limit) {
  const auto upto = writer_->last_sent();
  const auto query = fmt::format("select count(*), sum(n) from writes where n <= {}", upto);
  const auto agree = [&] {
    auto wanted = cluster_->sql(query);
    return wanted &&
           std::all_of(cluster_->nodes().begin(), cluster_->nodes().end(),
                       [&](auto& node) { return ask(node->superuser(), query) == wanted; });
  };
  return eventually(limit, agree);
}

unsigned World::timeline() {
  auto rows = cluster_->sql("select substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)");
  return rows ? static_cast<unsigned>(std::stoul(rows->at(0).at(0), nullptr, 16)) : 0;
}

void World::keep_logs(const fs::path& where) {
  fs::create_directories(where);
  for (const auto& node : cluster_->nodes()) {
    fs::copy_file(node->log(), where / (node->name + ".log"), fs::copy_options::overwrite_existing);
    std::error_code none_yet;
    fs::copy(node->server_logs(), where / (node->name + "-server"),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing, none_yet);
  }
  for (int i = 0; i < etcd_->members(); ++i) {
    fs::copy_file(etcd_->log(i), where / fmt::format("etcd{}.log", i),
                  fs::copy_options::overwrite_existing);
  }
}

}  // namespace pgsteady::chaos
