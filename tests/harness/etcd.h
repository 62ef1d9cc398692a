// One etcd, or a cluster of three, on loopback or on the hosts etcd0, etcd1, ... of a network.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/network.h"

namespace pgsteady::testing {

class Etcd {
 public:
  // Starts the members and waits until they answer; throws std::runtime_error after 30 s.
  explicit Etcd(const std::filesystem::path& dir, int members = 1,
                const Network* network = nullptr);

  int members() const { return static_cast<int>(members_.size()); }
  std::vector<std::string> endpoints() const;  // "host:port"

  void start(int member);
  void stop(int member);  // SIGKILL: state stays on disk
  void freeze(int member);
  void thaw(int member);
  void start_all();
  void stop_all();
  bool wait_healthy(Millis limit);
  int leader();  // -1 when there is none

  // Through etcdctl; throws std::runtime_error when that fails.
  std::string get(const std::string& key);  // empty when there is none
  void put(const std::string& key, const std::string& value);
  void remove(const std::string& key);
  std::vector<std::string> keys(const std::string& prefix);

  std::optional<long> proposals();  // raft proposals committed since its start
  std::filesystem::path log(int member) const;

 private:
  struct Member {
    std::string name, host;
    int client_port, peer_port;
    int space;  // the network namespace it runs in
    std::unique_ptr<Process> process;
  };
  std::string ctl(const std::vector<std::string>& arguments);
  std::string initial_cluster() const;

  std::filesystem::path dir_;
  std::vector<Member> members_;
};

}  // namespace pgsteady::testing
