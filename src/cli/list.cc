#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "api/status_json.h"
#include "cli/commands.h"
#include "cli/process_environment.h"
#include "cli/table.h"
#include "cluster/view.h"
#include "config/config.h"
#include "dcs/dcs.h"

namespace pgsteady::cli {
namespace {

using namespace std::chrono_literals;
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

Result<config::ClientConfig> client_config(const ListOptions& options) {
  auto path = options.config_path.empty() ? default_config_path() : options.config_path;
  auto config = config::load_client(path, process_environment());
  if (!config) return config;
  if (!options.dcs_url.empty()) {
    auto etcd = config::etcd_of_url(options.dcs_url);
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

std::string initialize_text(const ClusterView& cluster) {
  if (!cluster.initialize) return "uninitialized";
  return cluster.initialize->empty() ? "initializing" : *cluster.initialize;
}

int list_one(const config::ClientConfig& config, const std::string& scope,
             const ListOptions& options) {
  auto cluster = read_cluster(config, scope);
  if (!cluster) return complain(cluster.error());
  for (const auto& problem : cluster->problems) {
    fmt::print(stderr, "pgsteady: {}{}\n", config.prefix_of(scope), problem);
  }
  auto document = api::cluster_document(*cluster, scope);
  auto table = member_table(document, scope, initialize_text(*cluster), options.extended);
  fmt::print("{}", render(table, options.format));
  std::fflush(stdout);
  return 0;
}

}  // namespace

int list(const ListOptions& options) {
  auto config = client_config(options);
  if (!config) return complain(config.error());
  auto scopes = options.scopes;
  if (scopes.empty() && !config->scope.empty()) scopes = {config->scope};
  if (scopes.empty()) {
    return complain({ErrorKind::refused, "which cluster was not said",
                     "name its scope, or a configuration with -c"});
  }
  for (;;) {
    int code = 0;
    for (const auto& scope : scopes) code = std::max(code, list_one(*config, scope, options));
    if (!options.watch_seconds) return code;
    std::this_thread::sleep_for(std::chrono::duration<double>(*options.watch_seconds));
  }
}

}  // namespace pgsteady::cli
