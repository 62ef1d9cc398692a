// A network of a test's own: every host is a network namespace with one TUN device, and a thread of
// the test carries the packets between them. So each direction between two hosts can be cut, slowed
// down or made to lose packets, without a filter or a queue discipline of the kernel.
//
// Nothing of it has a name in the system: it is gone when the object and the processes in it are.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "harness/process.h"

namespace pgsteady::testing {

// One direction between two hosts.
struct Link {
  bool cut = false;  // nothing arrives, and nobody is told
  Millis delay{0};
  double loss = 0;  // the share of packets that is lost
};

class Network {
 public:
  using Hosts = std::vector<std::string>;

  // The hosts of a cluster of three with three etcds: pg1.., etcd0.., `client` for its writer, and
  // `eye` for the test itself, whose links no test cuts.
  static Hosts of_cluster();

  // Why there can be none here, "" when there can: it takes root and /dev/net/tun.
  static std::string missing();

  // All links are whole. Throws std::runtime_error. To be destroyed by the thread that made it.
  explicit Network(const Hosts& names);
  ~Network();  // brings the calling thread home
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const std::string& address(const std::string& host) const { return hosts_[index(host)].address; }
  int space(const std::string& host) const { return hosts_[index(host)].space; }  // for Process
  // Moves the calling thread to that host, with all threads and programs that it starts later.
  void enter(const std::string& host) const;

  void set(const std::string& from, const std::string& to, Link link);
  void set_both(const Hosts& some, const Hosts& others, Link link);
  void cut(const Hosts& some, const Hosts& others) { set_both(some, others, Link{.cut = true}); }
  void heal();  // all links are whole again

 private:
  struct Host {
    std::string name, address;
    int space = -1;   // the namespace
    int device = -1;  // our end of its TUN device
  };
  struct Packet {
    std::size_t from, to;
    std::vector<char> bytes;
  };
  static Host make_host(const std::string& name, std::size_t number);
  std::size_t index(const std::string& host) const;
  void carry();  // the thread
  void forward(std::size_t from, const char* bytes, std::size_t size);
  void deliver_due();
  int until_next_ms() const;
  Link link(std::size_t from, std::size_t to) const;

  int home_;
  std::vector<Host> hosts_;
  mutable std::mutex mutex_;
  std::vector<std::vector<Link>> links_;  // [from][to]
  // The thread's own:
  std::multimap<Clock::time_point, Packet> delayed_;
  std::minstd_rand dice_;
  std::atomic<bool> stop_ = false;
  std::thread carrier_;
};

}  // namespace pgsteady::testing
