#include "harness/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <unordered_set>

namespace pgsteady::testing {
namespace {

constexpr Millis kPeriod{10};
constexpr Millis kConnectLimit{500};
constexpr Millis kCommitLimit{1500};
constexpr Millis kReconnectPause{10};

}  // namespace

Writer::Writer(Cluster& cluster) : cluster_(cluster) {
  for (const auto& node : cluster.nodes()) {
    hosts_.push_back(node->host);
    ports_.push_back(node->sql_port);
  }
  user_part_ = fmt::format(
      "user=postgres password={} dbname=postgres target_session_attrs=read-write"
      " application_name=writer",
      cluster.passwords().superuser);
  // Committed everywhere before the first write counts.
  if (!cluster.sql("create table if not exists writes (n bigint primary key);")) {
    throw std::runtime_error("cannot make the writer's table");
  }
  auto last = cluster.sql("select coalesce(max(n), 0) from writes");
  if (last) next_ = std::stoll(last->at(0).at(0)) + 1;
  thread_ = std::thread([this] { run(); });
}

Writer::~Writer() {
  stop();
}

void Writer::stop() {
  if (!thread_.joinable()) return;
  stop_ = true;
  thread_.join();
  stopped_at_ = Clock::now();
}

// All hosts, starting with another one each time: a frozen server must not keep us from the rest.
bool Writer::connect(SqlClient& client, std::size_t first_host) {
  std::string hosts, ports;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    const auto host = (first_host + i) % ports_.size();
    hosts += (hosts.empty() ? "" : ",") + hosts_[host];
    ports += (ports.empty() ? "" : ",") + std::to_string(ports_[host]);
  }
  return client.connect(fmt::format("host={} port={} {}", hosts, ports, user_part_), kConnectLimit);
}

void Writer::write_one(SqlClient& client) {
  const std::int64_t number = next_++;
  const int port = client.port();
  const auto sent = Clock::now();
  auto rows =
      client.query("insert into writes values ($1)", {std::to_string(number)}, kCommitLimit);
  std::lock_guard lock(mutex_);
  if (rows) {
    acks_.push_back({number, port, sent, Clock::now()});
  } else {
    errors_.insert(client.last_error());
    client.close();
  }
}

void Writer::run() {
  if (cluster_.options().network) cluster_.options().network->enter("client");
  SqlClient client;
  std::size_t first_host = 0;
  auto next_at = Clock::now();
  while (!stop_) {
    if (!client.connected() && !connect(client, first_host++)) {
      {
        std::lock_guard lock(mutex_);
        if (errors_.size() < 50) errors_.insert(client.last_error());
      }
      std::this_thread::sleep_for(kReconnectPause);
      continue;
    }
    write_one(client);
    next_at = std::max(next_at + kPeriod, Clock::now());
    std::this_thread::sleep_until(next_at);
  }
}

std::vector<Writer::Ack> Writer::acks() const {
  std::lock_guard lock(mutex_);
  return acks_;
}

std::int64_t Writer::count() const {
  std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(acks_.size());
}

bool Writer::wait_acks(std::int64_t more, Millis limit) {
  const auto wanted = count() + more;
  return eventually(
      limit, [&] { return count() >= wanted; }, Millis(5));
}

Millis Writer::outage_since(Clock::time_point from) const {
  auto all = acks();
  auto longest = Clock::duration::zero();
  auto previous = from;
  for (const auto& ack : all) {
    if (ack.at >= from) longest = std::max(longest, ack.at - previous);
    previous = ack.at;
  }
  const auto end = stopped_at_ == Clock::time_point{} ? Clock::now() : stopped_at_;
  longest = std::max(longest, end - std::max(previous, from));
  return std::chrono::duration_cast<Millis>(longest);
}

// Without an order, so that the table is read and not its index.
std::optional<Writer::Account> Writer::account() const {
  const auto acknowledged = acks();
  auto rows = cluster_.sql("select n from writes");
  if (!rows) return std::nullopt;
  Account account;
  std::unordered_set<std::int64_t> there;
  for (const auto& row : *rows) {
    const auto number = std::stoll(row.at(0));
    if (!there.insert(number).second) account.doubled.push_back(number);
  }
  std::copy_if(acknowledged.begin(), acknowledged.end(), std::back_inserter(account.lost),
               [&](const Ack& ack) { return !there.contains(ack.number); });
  return account;
}

std::optional<std::vector<std::int64_t>> Writer::lost() const {
  auto all = account();
  if (!all) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const auto& ack : all->lost) numbers.push_back(ack.number);
  return numbers;
}

std::string Writer::errors() const {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& error : errors_) text += error + "\n";
  return text;
}

}  // namespace pgsteady::testing
