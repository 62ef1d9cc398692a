#include "harness/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace pgsteady::testing {
namespace {

constexpr const char* kDevice = "eth0";
constexpr int kPacketLimit = 16000;          // a big one saves the carrying thread work
constexpr std::size_t kDelayedLimit = 5000;  // packets on slow links, the rest is dropped
constexpr int kIdleMs = 50;                  // how soon the thread sees that it shall end
constexpr unsigned char kIpv4 = 4;
constexpr std::size_t kDestination = 16;  // offset of the address in an IPv4 header

void check(int result, const char* what) {
  if (result < 0) throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

int own_space() {
  int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  check(fd, "cannot open the network namespace");
  return fd;
}

ifreq request_for(const char* device) {
  ifreq request{};
  std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  return request;
}

int open_device() {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  check(fd, "cannot open /dev/net/tun");
  ifreq request = request_for(kDevice);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  check(ioctl(fd, TUNSETIFF, &request), "cannot make a TUN device");
  return fd;
}

void set_address(int control, unsigned long what, const std::string& address) {
  ifreq request = request_for(kDevice);
  auto* in = reinterpret_cast<sockaddr_in*>(&request.ifr_addr);
  in->sin_family = AF_INET;
  inet_pton(AF_INET, address.c_str(), &in->sin_addr);
  check(ioctl(control, what, &request), "cannot set an address");
}

void bring_up(int control, const char* device) {
  ifreq request = request_for(device);
  check(ioctl(control, SIOCGIFFLAGS, &request), "cannot ask for an interface");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  check(ioctl(control, SIOCSIFFLAGS, &request), "cannot bring an interface up");
}

void configure(const std::string& address) {
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  check(control, "cannot open a socket");
  bring_up(control, "lo");
  set_address(control, SIOCSIFADDR, address);
  set_address(control, SIOCSIFNETMASK, "255.255.255.0");
  ifreq request = request_for(kDevice);
  request.ifr_mtu = kPacketLimit;
  check(ioctl(control, SIOCSIFMTU, &request), "cannot set the packet size");
  bring_up(control, kDevice);
  close(control);
}

}  // namespace

Network::Hosts Network::of_cluster() {
  return {"pg1", "pg2", "pg3", "etcd0", "etcd1", "etcd2", "client", "eye"};
}

std::string Network::missing() {
  if (geteuid() != 0) return "network namespaces need root";
  if (access("/dev/net/tun", R_OK | W_OK) != 0) return "there is no /dev/net/tun";
  return "";
}

Network::Network(const Hosts& names)
    : home_(own_space()), links_(names.size(), std::vector<Link>(names.size())) {
  for (const auto& name : names) {
    hosts_.push_back(make_host(name, hosts_.size()));
    check(setns(home_, CLONE_NEWNET), "cannot go home");
  }
  carrier_ = std::thread([this] { carry(); });
}

Network::~Network() {
  stop_ = true;
  carrier_.join();
  setns(home_, CLONE_NEWNET);
  for (const auto& host : hosts_) {
    close(host.device);
    close(host.space);
  }
  close(home_);
}

// Leaves the calling thread in the new namespace.
Network::Host Network::make_host(const std::string& name, std::size_t number) {
  check(unshare(CLONE_NEWNET), "cannot make a network namespace");
  Host host{name, fmt::format("10.77.0.{}", number + 1), own_space(), open_device()};
  configure(host.address);
  return host;
}

std::size_t Network::index(const std::string& host) const {
  auto found = std::find_if(hosts_.begin(), hosts_.end(),
                            [&](const Host& candidate) { return candidate.name == host; });
  if (found == hosts_.end()) throw std::runtime_error("no host " + host);
  return static_cast<std::size_t>(found - hosts_.begin());
}

void Network::enter(const std::string& host) const {
  check(setns(space(host), CLONE_NEWNET), "cannot enter a network namespace");
}

void Network::set(const std::string& from, const std::string& to, Link link) {
  const auto f = index(from), t = index(to);
  std::lock_guard lock(mutex_);
  links_[f][t] = link;
}

void Network::set_both(const Hosts& some, const Hosts& others, Link link) {
  for (const auto& one : some) {
    for (const auto& other : others) {
      if (one == other) continue;
      set(one, other, link);
      set(other, one, link);
    }
  }
}

void Network::heal() {
  std::lock_guard lock(mutex_);
  for (auto& row : links_) std::fill(row.begin(), row.end(), Link{});
}

Link Network::link(std::size_t from, std::size_t to) const {
  std::lock_guard lock(mutex_);
  return links_[from][to];
}

void Network::carry() {
  std::vector<pollfd> ready;
  for (const auto& host : hosts_) ready.push_back({host.device, POLLIN, 0});
  std::vector<char> buffer(65536);
  while (!stop_) {
    poll(ready.data(), ready.size(), until_next_ms());
    for (std::size_t from = 0; from < ready.size(); ++from) {
      if ((ready[from].revents & POLLIN) == 0) continue;
      ssize_t size = 0;
      while ((size = read(ready[from].fd, buffer.data(), buffer.size())) > 0) {
        forward(from, buffer.data(), static_cast<std::size_t>(size));
      }
    }
    deliver_due();
  }
}

// Addresses end in the host's number. What is no IPv4, or for nobody, is dropped.
void Network::forward(std::size_t from, const char* bytes, std::size_t size) {
  if (size < kDestination + 4 || static_cast<unsigned char>(bytes[0]) >> 4 != kIpv4) return;
  const std::size_t to = static_cast<unsigned char>(bytes[kDestination + 3]) - 1u;
  if (to >= hosts_.size()) return;
  const Link way = link(from, to);
  if (way.cut || std::uniform_real_distribution<>(0, 1)(dice_) < way.loss) return;
  if (way.delay == Millis(0)) {
    [[maybe_unused]] auto sent = write(hosts_[to].device, bytes, size);  // a full queue drops
  } else if (delayed_.size() < kDelayedLimit) {
    delayed_.emplace(Clock::now() + way.delay, Packet{from, to, {bytes, bytes + size}});
  }
}

void Network::deliver_due() {
  while (!delayed_.empty() && delayed_.begin()->first <= Clock::now()) {
    const auto& packet = delayed_.begin()->second;
    if (!link(packet.from, packet.to).cut) {
      [[maybe_unused]] auto sent =
          write(hosts_[packet.to].device, packet.bytes.data(), packet.bytes.size());
    }
    delayed_.erase(delayed_.begin());
  }
}

int Network::until_next_ms() const {
  if (delayed_.empty()) return kIdleMs;
  auto left = std::chrono::ceil<Millis>(delayed_.begin()->first - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, kIdleMs));
}

}  // namespace pgsteady::testing
