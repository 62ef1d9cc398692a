// A cluster under test: nodes on loopback or on the hosts of a network that bear their names, each
// with its YAML, log and data directory. Also runs Debian's Patroni from the same YAML, for the
// comparisons in bench/.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/etcd.h"
#include "harness/http.h"
#include "harness/process.h"
#include "harness/sql.h"
#include "harness/wall_clock.h"

namespace pgsteady::testing {

enum class Manager { pgsteady, patroni };

struct ClusterOptions {
  Manager manager = Manager::pgsteady;
  int nodes = 3;
  std::string scope = "e2e";
  // "key: value" lines under bootstrap.dcs: ttl, loop_wait, ...
  std::vector<std::string> dcs = {"ttl: 5", "loop_wait: 1", "retry_timeout: 3"};
  std::map<std::string, std::filesystem::path> data_dirs;  // by a node's name, else NODE/data
  std::filesystem::path programs;  // the directory of the built programs, if not the default
  // Dynamic shared memory is files in the data directory, which go with it when a server was
  // killed.
  bool memory_in_data = true;
  const Network* network = nullptr;  // pg1, pg2, ..., and `client` for those who write
  WallClocks* clocks = nullptr;      // the nodes' own, else the machine's
};

struct Passwords {
  std::string superuser, replication, rewind, admin, app;
};

class Node {
 public:
  std::string name;
  std::string host;
  int sql_port = 0, rest_port = 0;
  std::filesystem::path dir;  // node.yml, node.log, data/

  void start();
  // SIGTERM and wait; the exit status, nullopt when it did not end in time.
  std::optional<int> stop(Millis limit = Millis(60000));
  bool running() const { return process_ && process_->running(); }
  Process& process() { return *process_; }  // pgsteady: the guardian; Patroni: the agent

  pid_t guardian() const { return process_ ? process_->pid() : 0; }
  pid_t agent() const;       // 0 when there is none
  pid_t postmaster() const;  // 0 when there is none
  // Manager, agent, server and all of the server's children, as of now.
  std::vector<pid_t> everything() const;
  void kill_everything();  // -9 for all of it, and waits until it is gone

  std::string conninfo(const std::string& user, const std::string& password) const;
  std::string superuser() const;  // conninfo of the superuser, database postgres
  // "" when it does not answer, "standby" or "primary".
  std::string role() const;
  std::optional<HttpReply> rest(const std::string& path) const;
  // "200 text"; "" when there was no answer. What is asked for may take its time.
  std::string rest(const std::string& method, const std::string& path,
                   const std::string& body = "") const;

  std::filesystem::path yaml() const { return dir / "node.yml"; }
  std::filesystem::path log() const { return dir / "node.log"; }
  std::filesystem::path data() const { return data_; }
  std::filesystem::path server_logs() const { return data_.string() + ".pgsteady/log"; }

 private:
  friend class Cluster;
  Manager manager_ = Manager::pgsteady;
  std::filesystem::path bin_dir_, data_;
  Passwords passwords_;
  WallClocks* clocks_ = nullptr;
  std::vector<std::string> environment_;
  int space_ = -1;  // the network namespace it runs in
  std::unique_ptr<Process> process_;
};

class Cluster {
 public:
  // Writes the YAMLs and copies the binaries to where the server user can run them; starts nothing.
  Cluster(const std::filesystem::path& dir, const Etcd& etcd, ClusterOptions options);
  ~Cluster();  // kills everything

  const ClusterOptions& options() const { return options_; }
  const Passwords& passwords() const { return passwords_; }
  const std::filesystem::path& bin_dir() const { return bin_dir_; }
  std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }
  Node& node(int i) { return *nodes_.at(static_cast<std::size_t>(i)); }
  Node& add_node();  // one more, not started

  void start_all();  // those that do not run
  // One primary, from which all other running nodes stream; by SQL, and REST agrees.
  bool wait_healthy(Millis limit);
  // The node that accepts writes, by SQL; nullptr when there is none or more than one.
  Node* primary();
  Node* wait_primary(Millis limit, const Node* other_than = nullptr);
  Node* a_replica();

  std::string conninfo(const std::string& extra = "") const;    // all hosts, superuser
  std::optional<SqlClient::Rows> sql(const std::string& text);  // on the primary
  // Runs `text` on the primary so that no replica receives what it writes, then kills everything of
  // the primary's node. The replicas' WAL receivers are frozen before it, and killed afterwards, so
  // that what the kernel holds for them is lost as on a cut wire.
  bool diverge(Node& primary, const std::string& text);
  std::string key(const std::string& name) const {
    return "/service/" + options_.scope + "/" + name;
  }
  std::string logs(int lines) const;  // the end of each node's log and server log

 private:
  bool healthy();
  std::string yaml_of(const Node& node) const;

  std::filesystem::path dir_, bin_dir_;
  std::vector<std::string> etcd_endpoints_;
  ClusterOptions options_;
  Passwords passwords_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace pgsteady::testing
