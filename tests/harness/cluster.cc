#include "harness/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <random>
#include <stdexcept>

#include "base/shared_memory.h"

#ifndef PGSTEADY_BINARY_DIR
#error "PGSTEADY_BINARY_DIR names the directory of the built programs"
#endif

namespace pgsteady::testing {
namespace fs = std::filesystem;
namespace {

constexpr const char* kPostgresBin = "/usr/lib/postgresql/15/bin";

std::string random_password() {
  std::random_device source;
  return fmt::format("{:08x}{:08x}", source(), source());
}

// The work tree may be unreadable to the server user.
void copy_programs(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from.empty() ? PGSTEADY_BINARY_DIR : from)) {
    auto name = entry.path().filename().string();
    if (!entry.is_regular_file() || name.rfind("pgsteady", 0) != 0) continue;
    fs::copy_file(entry.path(), to / name, fs::copy_options::overwrite_existing);
    fs::permissions(to / name, static_cast<fs::perms>(0755));
  }
}

void make_server_directory(const fs::path& path) {
  fs::create_directories(path);
  if (server_user().drop && chown(path.c_str(), server_user().uid, server_user().gid) != 0) {
    throw std::runtime_error("cannot hand " + path.string() + " to the server user");
  }
  fs::permissions(path, fs::perms::owner_all);
}

}  // namespace

// --- Node ----------------------------------------------------------------------------------------

void Node::start() {
  std::vector<std::string> argv =
      manager_ == Manager::pgsteady
          ? std::vector<std::string>{bin_dir_ / "pgsteady", "run", yaml()}
          : std::vector<std::string>{"/usr/bin/python3", "-u", "/usr/bin/patroni", yaml()};
  if (!environment_.empty()) {
    // Not for what runs before it as another user.
    argv.insert(argv.begin(), environment_.begin(), environment_.end());
    argv.insert(argv.begin(), "/usr/bin/env");
  }
  process_ = std::make_unique<Process>(argv, log(), std::vector<std::string>{}, space_);
  if (clocks_) clocks_->started(process_->pid());
}

std::optional<int> Node::stop(Millis limit) {
  process_->signal(SIGTERM);
  return process_->wait(limit);
}

pid_t Node::agent() const {
  if (manager_ == Manager::patroni) return guardian();
  for (pid_t child : children_of(guardian())) {
    auto arguments = arguments_of(child);
    if (arguments.size() > 1 && arguments[1] == "agent" && alive(child)) return child;
  }
  return 0;
}

pid_t Node::postmaster() const {
  std::ifstream in(data() / "postmaster.pid");
  pid_t pid = 0;
  if (!(in >> pid) || !alive(pid)) return 0;
  auto arguments = arguments_of(pid);
  bool is_server = !arguments.empty() && arguments[0].find("postgres") != std::string::npos;
  return is_server ? pid : 0;
}

std::vector<pid_t> Node::everything() const {
  std::vector<pid_t> all;
  if (process_ && process_->running()) {
    all.push_back(guardian());
    auto below = descendants_of(guardian());
    all.insert(all.end(), below.begin(), below.end());
  }
  if (pid_t server = postmaster()) {
    all.push_back(server);
    auto below = descendants_of(server);
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

void Node::kill_everything() {
  auto all = everything();
  kill_pids(all, SIGKILL);
  if (process_) process_->kill();
  eventually(
      Millis(10000), [&] { return std::none_of(all.begin(), all.end(), alive); }, Millis(2));
}

std::string Node::conninfo(const std::string& user, const std::string& password) const {
  return fmt::format(
      "host={} port={} user={} password={} dbname=postgres application_name=probe"
      " options='-c client_min_messages=warning'",
      host, sql_port, user, password);
}

std::string Node::superuser() const {
  return conninfo("postgres", passwords_.superuser);
}

std::string Node::role() const {
  auto rows = ask(superuser(), "select pg_is_in_recovery()", Millis(1000));
  if (!rows) return "";
  return rows->at(0).at(0) == "f" ? "primary" : "standby";
}

std::optional<HttpReply> Node::rest(const std::string& path) const {
  return http_get(host, rest_port, path);
}

std::string Node::rest(const std::string& method, const std::string& path,
                       const std::string& body) const {
  auto reply = http_send(host, rest_port, method, path, body, Millis(60000));
  return reply ? std::to_string(reply->status) + " " + reply->body : "";
}

// --- Cluster -------------------------------------------------------------------------------------

Cluster::Cluster(const fs::path& dir, const Etcd& etcd, ClusterOptions options)
    : dir_(dir),
      bin_dir_(dir / "bin"),
      etcd_endpoints_(etcd.endpoints()),
      options_(std::move(options)),
      passwords_{random_password(), random_password(), random_password(), random_password(),
                 random_password()} {
  copy_programs(options_.programs, bin_dir_);
  for (int i = 0; i < options_.nodes; ++i) add_node();
}

Cluster::~Cluster() {
  for (auto& node : nodes_) {
    node->kill_everything();
    remove_shared_memory(node->data());
  }
}

Node& Cluster::add_node() {
  auto node = std::make_unique<Node>();
  node->name = fmt::format("pg{}", nodes_.size() + 1);
  node->dir = dir_ / (options_.scope + "-" + node->name);
  auto data = options_.data_dirs.find(node->name);
  node->data_ = data == options_.data_dirs.end() ? node->dir / "data" : data->second;
  node->host = options_.network ? options_.network->address(node->name) : "127.0.0.1";
  node->space_ = options_.network ? options_.network->space(node->name) : -1;
  node->sql_port = free_port();
  node->rest_port = free_port();
  node->manager_ = options_.manager;
  node->clocks_ = options_.clocks;
  if (node->clocks_) node->environment_ = node->clocks_->environment(node->name);
  node->bin_dir_ = bin_dir_;
  node->passwords_ = passwords_;
  make_server_directory(node->dir);
  write_private(node->yaml(), yaml_of(*node));
  nodes_.push_back(std::move(node));
  return *nodes_.back();
}

std::string Cluster::yaml_of(const Node& node) const {
  std::string dcs, hosts;
  for (const auto& line : options_.dcs) dcs += "    " + line + "\n";
  for (const auto& endpoint : etcd_endpoints_) hosts += "    - " + endpoint + "\n";
  return fmt::format(
      R"(scope: {scope}
name: {name}
restapi:
  listen: {host}:{rest}
  connect_address: {host}:{rest}
etcd3:
  hosts:
{hosts}bootstrap:
  dcs:
{dcs}    postgresql:
      use_pg_rewind: true
      use_slots: true
  initdb:
    - encoding: UTF8
    - data-checksums
  users:
    admin:
      password: {admin}
      options: [createrole, createdb]
    app:
      password: {app}
postgresql:
  listen: {host}:{sql}
  connect_address: {host}:{sql}
  data_dir: {data}
  bin_dir: {bin}
  pgpass: {dir}/pgpass
  authentication:
    superuser: {{username: postgres, password: {superuser}}}
    replication: {{username: replicator, password: {replication}}}
    rewind: {{username: rewinder, password: {rewind}}}
  parameters:
    unix_socket_directories: {dir}
    password_encryption: scram-sha-256
    max_connections: 100
    shared_buffers: 32MB
    wal_log_hints: "on"
    dynamic_shared_memory_type: {memory}
  pg_hba:
    - local all all scram-sha-256
    - host replication replicator {clients} scram-sha-256
    - host all all {clients} scram-sha-256
)",
      fmt::arg("scope", options_.scope), fmt::arg("name", node.name), fmt::arg("host", node.host),
      fmt::arg("clients", options_.network ? "all" : "127.0.0.1/32"),
      fmt::arg("memory", options_.memory_in_data ? "mmap" : "posix"),
      fmt::arg("rest", node.rest_port), fmt::arg("hosts", hosts), fmt::arg("dcs", dcs),
      fmt::arg("sql", node.sql_port), fmt::arg("dir", node.dir.string()),
      fmt::arg("data", node.data().string()), fmt::arg("bin", kPostgresBin),
      fmt::arg("superuser", passwords_.superuser), fmt::arg("replication", passwords_.replication),
      fmt::arg("rewind", passwords_.rewind), fmt::arg("admin", passwords_.admin),
      fmt::arg("app", passwords_.app));
}

void Cluster::start_all() {
  for (auto& node : nodes_) {
    if (!node->running()) node->start();
  }
}

bool Cluster::healthy() {
  Node* leader = primary();
  if (!leader) return false;
  auto running = std::count_if(nodes_.begin(), nodes_.end(), [](auto& n) { return n->running(); });
  auto rows = ask(
      leader->superuser(),
      "select count(distinct application_name) from pg_stat_replication where state = 'streaming'"
      " and application_name not like '%basebackup%'");
  if (!rows || rows->at(0).at(0) != std::to_string(running - 1)) return false;
  return std::all_of(nodes_.begin(), nodes_.end(), [&](auto& node) {
    if (!node->running()) return true;
    auto reply = node->rest(node.get() == leader ? "/primary" : "/replica");
    return reply && reply->status == 200;
  });
}

bool Cluster::wait_healthy(Millis limit) {
  return eventually(
      limit, [&] { return healthy(); }, Millis(100));
}

Node* Cluster::primary() {
  Node* found = nullptr;
  for (auto& node : nodes_) {
    if (!node->postmaster() || node->role() != "primary") continue;
    if (found) return nullptr;
    found = node.get();
  }
  return found;
}

Node* Cluster::wait_primary(Millis limit, const Node* other_than) {
  Node* found = nullptr;
  eventually(limit, [&] {
    found = primary();
    return found && found != other_than;
  });
  return found == other_than ? nullptr : found;
}

Node* Cluster::a_replica() {
  for (auto& node : nodes_) {
    if (node->running() && node->role() == "standby") return node.get();
  }
  return nullptr;
}

std::string Cluster::conninfo(const std::string& extra) const {
  std::string hosts, ports;
  for (const auto& node : nodes_) {
    hosts += (hosts.empty() ? "" : ",") + node->host;
    ports += (ports.empty() ? "" : ",") + std::to_string(node->sql_port);
  }
  return fmt::format("host={} port={} user=postgres password={} dbname=postgres {}", hosts, ports,
                     passwords_.superuser, extra);
}

std::optional<SqlClient::Rows> Cluster::sql(const std::string& text) {
  Node* leader = primary();
  return leader ? ask(leader->superuser(), text, Millis(10000)) : std::nullopt;
}

bool Cluster::diverge(Node& primary, const std::string& text) {
  std::vector<pid_t> receivers;
  for (const auto& node : nodes_) {
    if (node.get() == &primary) continue;
    auto rows = ask(node->superuser(), "select pid from pg_stat_wal_receiver");
    if (!rows || rows->size() != 1) return false;
    receivers.push_back(std::stoi(rows->at(0).at(0)));
  }
  kill_pids(receivers, SIGSTOP);
  bool done = ask(primary.superuser(), text, Millis(10000)).has_value();
  primary.kill_everything();
  kill_pids(receivers, SIGKILL);
  return done;
}

std::string Cluster::logs(int lines) const {
  std::string text;
  for (const auto& node : nodes_) {
    text += fmt::format("---- {} ({}:{}) ----\n{}", node->name, node->host, node->sql_port,
                        tail(node->log(), lines));
    std::error_code none_yet;
    for (const auto& log : std::filesystem::directory_iterator(node->server_logs(), none_yet)) {
      text += fmt::format("---- {}: server ----\n{}", node->name, tail(log.path(), lines));
    }
  }
  return text;
}

}  // namespace pgsteady::testing
