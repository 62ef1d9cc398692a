#include "harness/etcd.h"

#include <csignal>
#include <sstream>
#include <stdexcept>

#include "base/process.h"
#include "harness/http.h"

namespace pgsteady::testing {
namespace {

std::string url(const std::string& host, int port) {
  return "http://" + host + ":" + std::to_string(port);
}

}  // namespace

Etcd::Etcd(const std::filesystem::path& dir, int members, const Network* network) : dir_(dir) {
  for (int i = 0; i < members; ++i) {
    const auto name = "etcd" + std::to_string(i);
    members_.push_back({name, network ? network->address(name) : "127.0.0.1", free_port(),
                        free_port(), network ? network->space(name) : -1, nullptr});
  }
  start_all();
  if (!wait_healthy(Millis(30000)))
    throw std::runtime_error("etcd does not answer:\n" + tail(log(0), 20));
}

std::vector<std::string> Etcd::endpoints() const {
  std::vector<std::string> result;
  for (const auto& m : members_) result.push_back(m.host + ":" + std::to_string(m.client_port));
  return result;
}

std::string Etcd::initial_cluster() const {
  std::string text;
  for (const auto& m : members_) {
    text += (text.empty() ? "" : ",") + m.name + "=" + url(m.host, m.peer_port);
  }
  return text;
}

std::filesystem::path Etcd::log(int member) const {
  return dir_ / (members_.at(static_cast<std::size_t>(member)).name + ".log");
}

void Etcd::start(int member) {
  auto& m = members_.at(static_cast<std::size_t>(member));
  if (m.process && m.process->running()) return;
  m.process = std::make_unique<Process>(std::vector<std::string>{"etcd",
                                                                 "--name",
                                                                 m.name,
                                                                 "--data-dir",
                                                                 dir_ / m.name,
                                                                 "--listen-client-urls",
                                                                 url(m.host, m.client_port),
                                                                 "--advertise-client-urls",
                                                                 url(m.host, m.client_port),
                                                                 "--listen-peer-urls",
                                                                 url(m.host, m.peer_port),
                                                                 "--initial-advertise-peer-urls",
                                                                 url(m.host, m.peer_port),
                                                                 "--initial-cluster",
                                                                 initial_cluster(),
                                                                 "--unsafe-no-fsync",
                                                                 "--logger",
                                                                 "zap",
                                                                 "--log-level",
                                                                 "warn"},
                                        log(member), std::vector<std::string>{}, m.space);
}

void Etcd::stop(int member) {
  members_.at(static_cast<std::size_t>(member)).process->kill();
}
void Etcd::freeze(int member) {
  members_.at(static_cast<std::size_t>(member)).process->signal(SIGSTOP);
}
void Etcd::thaw(int member) {
  members_.at(static_cast<std::size_t>(member)).process->signal(SIGCONT);
}

void Etcd::start_all() {
  for (int i = 0; i < members(); ++i) start(i);
}

void Etcd::stop_all() {
  for (int i = 0; i < members(); ++i) stop(i);
}

bool Etcd::wait_healthy(Millis limit) {
  return eventually(limit, [&] {
    for (const auto& m : members_) {
      auto reply = http_get(m.host, m.client_port, "/health");
      if (!reply || reply->body.find("true") == std::string::npos) return false;
    }
    return true;
  });
}

std::string Etcd::ctl(const std::vector<std::string>& arguments) {
  std::string all;
  for (const auto& endpoint : endpoints()) all += (all.empty() ? "" : ",") + endpoint;
  std::vector<std::string> argv = {"etcdctl", "--endpoints", all};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto result = run_process(argv, {"ETCDCTL_API=3"}, Millis(10000));
  if (!result) throw std::runtime_error(result.error().text());
  if (result->exit_code != 0) throw std::runtime_error("etcdctl failed: " + result->output);
  return result->output;
}

int Etcd::leader() {
  for (int i = 0; i < members(); ++i) {
    const auto& m = members_[static_cast<std::size_t>(i)];
    auto reply = http_get(m.host, m.client_port, "/metrics");
    if (reply && reply->body.find("\netcd_server_is_leader 1") != std::string::npos) return i;
  }
  return -1;
}

std::string Etcd::get(const std::string& key) {
  auto text = ctl({"get", key, "--print-value-only"});
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

void Etcd::put(const std::string& key, const std::string& value) {
  ctl({"put", "--", key, value});
}
void Etcd::remove(const std::string& key) {
  ctl({"del", key});
}

std::vector<std::string> Etcd::keys(const std::string& prefix) {
  std::vector<std::string> result;
  std::istringstream lines(ctl({"get", prefix, "--prefix", "--keys-only"}));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) result.push_back(line);
  }
  return result;
}

std::optional<long> Etcd::proposals() {
  constexpr std::string_view kName = "\netcd_server_proposals_committed_total ";
  auto reply = http_get(members_.front().host, members_.front().client_port, "/metrics");
  if (!reply) return std::nullopt;
  auto at = reply->body.find(kName);
  if (at == std::string::npos) return std::nullopt;
  return static_cast<long>(std::stod(reply->body.substr(at + kName.size(), 32)));
}

}  // namespace pgsteady::testing
