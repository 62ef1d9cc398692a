#include "cli/cluster_access.h"

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "base/process.h"
#include "dcs/dcs.h"
#include "http/client.h"

namespace pgsteady::cli {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;

constexpr auto kReadLimit = 5s;

// Stands in for the agent's loop: functions are posted by etcd's threads, and run by wait_for().
class Mailbox {
 public:
  void post(std::function<void()> function) {
    std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    arrived_.notify_one();
  }
  void run_one(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, limit, [this] { return !functions_.empty(); })) return;
    auto function = std::move(functions_.front());
    functions_.pop_front();
    lock.unlock();
    function();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> functions_;
};

std::string default_config_path() {
  if (const char* path = std::getenv("PATRONICTL_CONFIG_FILE"); path && *path) return path;
  const char* home = std::getenv("HOME");
  auto path = std::string(home ? home : "") + "/.config/patroni/patronictl.yaml";
  return ::access(path.c_str(), R_OK) == 0 ? path : "";
}

dcs::Options dcs_options(const config::ClientConfig& config, const std::string& scope) {
  dcs::Options options;
  options.endpoints = config.etcd.endpoints;
  options.prefix = config.prefix_of(scope);
  options.tls = config.etcd.tls;
  options.ca_file = config.etcd.ca_file;
  options.cert_file = config.etcd.cert_file;
  options.key_file = config.etcd.key_file;
  options.username = config.etcd.username;
  options.password = config.etcd.password;
  return options;
}

asio::awaitable<void> ask(HostPort host, http::Call call, std::chrono::milliseconds limit,
                          Result<http::Response>& answer) {
  answer = co_await http::send(std::move(host), std::move(call), limit);
}

}  // namespace

Result<config::ClientConfig> client_config(const Access& access) {
  auto path = access.config_path.empty() ? default_config_path() : access.config_path;
  auto config = config::load_client(path, process_environment());
  if (!config) return config;
  if (!access.dcs_url.empty()) {
    auto etcd = config::etcd_of_url(access.dcs_url);
    if (!etcd) return tl::unexpected(etcd.error());
    config->etcd.endpoints = etcd->endpoints;
    config->etcd.tls = etcd->tls;
  }
  if (config->etcd.endpoints.empty()) {
    return fail(ErrorKind::refused, "where etcd is was not said",
                "name a configuration with -c, or etcd with --dcs-url HOST:PORT");
  }
  return config;
}

Result<ClusterView> read_cluster(const config::ClientConfig& config, const std::string& scope) {
  auto mailbox = std::make_shared<Mailbox>();
  auto dcs = dcs::make_etcd(dcs_options(config, scope), [mailbox](std::function<void()> function) {
    mailbox->post(std::move(function));
  });
  std::optional<Result<dcs::Snapshot>> answer;
  dcs->read(kReadLimit,
            [&answer](Result<dcs::Snapshot> snapshot) { answer = std::move(snapshot); });
  auto give_up_at = std::chrono::steady_clock::now() + kReadLimit + 1s;
  while (!answer && std::chrono::steady_clock::now() < give_up_at) mailbox->run_one(100ms);
  dcs.reset();
  if (!answer) return fail(ErrorKind::retry, "etcd did not answer");
  if (!*answer) return tl::unexpected(answer->error());
  return parse_cluster((*answer)->keys, (*answer)->revision);
}

Result<http::Response> ask_member(const config::ClientConfig& config, const Member& member,
                                  const std::string& method, const std::string& path,
                                  const std::string& body, std::chrono::milliseconds limit) {
  auto address = host_port_of_url(member.api_url);
  if (!address) return fail(ErrorKind::refused, member.name + " has no REST address");
  const auto& login = config.authentication;
  http::Call call{method, path, body, {}};
  if (!login.username.empty()) {
    call.authorization = http::basic_authorization(login.username, login.password);
  }
  Result<http::Response> answer = fail(ErrorKind::retry, "no answer");
  asio::io_context io;
  asio::co_spawn(io, ask(*address, std::move(call), limit, answer), asio::detached);
  io.run();
  return answer;
}

}  // namespace pgsteady::cli
