// bench_failover failover|rejoin|idle: runs the systems one after the other, or several at a time,
// on the same machine with the same writer, and writes a table and a JSON file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <csignal>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>

#include "failover.h"
#include "idle.h"
#include "rejoin.h"
#include "report.h"
#include "workers.h"

namespace pgsteady::bench {
namespace {

namespace json = boost::json;
using testing::Cluster;
using testing::Etcd;

struct Arguments {
  std::string what = "failover";
  int reps = 20;
  std::vector<std::string> only_systems, only_faults;
  std::string json_path, markdown_path;
  int seconds = 60;
  unsigned seed = 1;
  std::size_t together = 1;
};

bool chosen(const std::vector<std::string>& only, const std::string& key) {
  return only.empty() || std::find(only.begin(), only.end(), key) != only.end();
}

// One etcd and one cluster, made new when a repetition left it unhealthy.
class Rig {
 public:
  Rig(const System& system, int etcd_members) : system_(system), etcd_members_(etcd_members) {
    renew();
  }

  void renew() {
    cluster_.reset();
    etcd_.reset();
    testing::kill_orphans();
    dir_ = std::make_unique<testing::TempDir>();
    etcd_ = std::make_unique<Etcd>(dir_->path(), etcd_members_);
    cluster_ = std::make_unique<Cluster>(dir_->path(), *etcd_, system_.options);
    cluster_->node(0).start();
    cluster_->wait_primary(Millis(60000));
    cluster_->start_all();
    if (!cluster_->wait_healthy(Millis(120000))) {
      throw std::runtime_error(system_.title + " did not become healthy\n" + cluster_->logs(20));
    }
  }

  Cluster& cluster() { return *cluster_; }
  Etcd& etcd() { return *etcd_; }

 private:
  System system_;
  int etcd_members_;
  std::unique_ptr<testing::TempDir> dir_;
  std::unique_ptr<Etcd> etcd_;
  std::unique_ptr<Cluster> cluster_;
};

void save(const Arguments& arguments, const std::string& table, const json::value& data) {
  if (!arguments.markdown_path.empty()) std::ofstream(arguments.markdown_path) << table;
  if (!arguments.json_path.empty()) {
    std::ofstream(arguments.json_path) << json::serialize(data) << "\n";
  }
}

void repeat(Rig& rig, const System& system, const Fault& fault, int reps, std::mt19937& random,
            const SendLine& send) {
  std::uniform_int_distribution<std::int64_t> phase(
      0, std::min(system.ttl.count(), Millis(10000).count()));
  for (int i = 0; i < reps; ++i) {
    auto outcome = run_once(rig.cluster(), rig.etcd(), system, fault, Millis(phase(random)));
    fmt::print(stderr, "{} | {} | {}/{}: outage {} ms, lost {}, old acks {}{}{}\n", system.key,
               fault.key, i + 1, reps, outcome.outage.count(), outcome.lost, outcome.stale_acks,
               outcome.restarted ? ", restarted" : "", outcome.recovered ? "" : ", NOT RECOVERED");
    send(to_line(fault.key, outcome));
    if (!outcome.recovered) {
      fmt::print(stderr, "{}", rig.cluster().logs(15));
      rig.renew();
    }
  }
}

void measure(const Arguments& arguments, const System& system, const SendLine& send) {
  std::mt19937 random(arguments.seed);
  std::unique_ptr<Rig> rig;
  int members = 0;
  for (const auto& fault : faults()) {
    if (!chosen(arguments.only_faults, fault.key)) continue;
    if (fault.when_named && arguments.only_faults.empty()) continue;
    if (members != fault.etcd_members) {
      rig.reset();
      rig = std::make_unique<Rig>(system, members = fault.etcd_members);
    }
    repeat(*rig, system, fault, arguments.reps, random, send);
  }
}

void add(std::vector<Row>& rows, const System& system, const std::string& line) {
  auto outcome = from_line(line);
  if (!outcome) return;
  auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& r) {
    return r.system_key == system.key && r.fault_key == outcome->first;
  });
  if (row == rows.end()) {
    for (const auto& fault : faults()) {
      if (fault.key != outcome->first) continue;
      row = rows.insert(rows.end(), {fault.title, system.title, fault.key, system.key, {}});
    }
  }
  row->outcomes.push_back(outcome->second);
}

int bench_failover(const Arguments& arguments) {
  std::vector<System> used;
  for (const auto& system : systems()) {
    if (chosen(arguments.only_systems, system.key)) used.push_back(system);
  }
  std::vector<Row> rows;
  bool ok = run_workers(
      used.size(), arguments.together,
      [&](std::size_t i, const SendLine& send) { measure(arguments, used[i], send); },
      [&](std::size_t i, const std::string& line) {
        add(rows, used[i], line);
        // Written after each repetition: a long run that is interrupted keeps what it has.
        json::array data;
        for (const auto& row : rows) data.push_back(to_json(row));
        save(arguments, markdown(rows, used),
             json::object{
                 {"seed", arguments.seed}, {"settings", settings_text(used)}, {"rows", data}});
      });
  std::cout << markdown(rows, used);
  return ok ? 0 : 1;
}

// A new cluster writes WAL of its own accord for a while, and its position to etcd.
void await_idle(Etcd& etcd) {
  std::optional<long> before;
  testing::eventually(
      Millis(180000),
      [&] {
        auto now = etcd.proposals();
        return now && std::exchange(before, now) == now;
      },
      Millis(30000));
}

int bench_idle(const Arguments& arguments) {
  std::string table =
      "| System | Agent PSS | Agent CPU | Guardian PSS | Guardian CPU | Raft proposals |\n"
      "|---|---|---|---|---|---|\n";
  json::array data;
  for (const auto& system : systems()) {
    if (!chosen(arguments.only_systems, system.key)) continue;
    Rig rig(system, 1);
    await_idle(rig.etcd());
    auto idle = measure_idle(rig.cluster(), rig.etcd(), Millis(arguments.seconds * 1000));
    table +=
        fmt::format("| {} | {:.1f} MB | {:.2f} % | {:.1f} MB | {:.2f} % | {:.1f} a minute |\n",
                    system.title, idle.agent_pss_mb, idle.agent_cpu_percent, idle.guardian_pss_mb,
                    idle.guardian_cpu_percent, idle.proposals_per_minute);
    data.push_back(json::object{{"system", system.key},
                                {"agent_pss_mb", idle.agent_pss_mb},
                                {"agent_cpu_percent", idle.agent_cpu_percent},
                                {"guardian_pss_mb", idle.guardian_pss_mb},
                                {"guardian_cpu_percent", idle.guardian_cpu_percent},
                                {"proposals_per_minute", idle.proposals_per_minute}});
  }
  save(arguments, table, data);
  std::cout << table
            << fmt::format("\nOver {} s, the largest value of three nodes.\n", arguments.seconds);
  return 0;
}

int bench_rejoin(const Arguments& arguments) {
  std::string table =
      "| System | Streams again after, median / maximum | Repetitions |\n|---|---|---|\n";
  json::array data;
  for (const auto& system : systems()) {
    if (!chosen(arguments.only_systems, system.key)) continue;
    Rig rig(system, 1);
    Row row{"", system.title, "rejoin", system.key, {}};
    for (int i = 0; i < arguments.reps; ++i) {
      auto time = rejoin_once(rig.cluster());
      fmt::print(stderr, "{} | rejoin | {}/{}: {} ms\n", system.key, i + 1, arguments.reps,
                 time ? time->count() : -1);
      if (!time) throw std::runtime_error("the node did not come back\n" + rig.cluster().logs(15));
      row.outcomes.push_back({*time});
    }
    table += fmt::format("| {} | {:.2f} s / {:.2f} s | {} |\n", system.title, row.median(),
                         row.maximum(), row.outcomes.size());
    data.push_back(json::object{
        {"system", system.key}, {"median_s", row.median()}, {"maximum_s", row.maximum()}});
  }
  save(arguments, table, data);
  std::cout << table;
  return 0;
}

template <typename Range>
std::string keys_of(const Range& range) {
  std::string text;
  for (const auto& entry : range) text += (text.empty() ? "" : ", ") + entry.key;
  return text;
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("write outages and running costs, measured against Debian's Patroni");
  app.add_option("what", arguments.what, "failover, rejoin or idle")
      ->check(CLI::IsMember({"failover", "rejoin", "idle"}));
  app.add_option("--reps", arguments.reps, "repetitions of each fault (20)");
  app.add_option("--systems", arguments.only_systems, "of " + keys_of(systems()))->delimiter(',');
  app.add_option("--only", arguments.only_faults, "of " + keys_of(faults()))->delimiter(',');
  app.add_option("--json", arguments.json_path, "also write the figures here");
  app.add_option("--markdown", arguments.markdown_path, "also write the table here");
  app.add_option("--seconds", arguments.seconds, "how long idle is watched (60)");
  app.add_option("--together", arguments.together,
                 "systems measured at the same time, each on a cluster of its own (1)");
  app.add_option("--seed", arguments.seed, "of the random phases (1)");
  CLI11_PARSE(app, argc, argv);
  testing::adopt_orphans();
  int result = arguments.what == "idle"     ? bench_idle(arguments)
               : arguments.what == "rejoin" ? bench_rejoin(arguments)
                                            : bench_failover(arguments);
  testing::kill_orphans();
  return result;
}

}  // namespace
}  // namespace pgsteady::bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return pgsteady::bench::run(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "bench: " << e.what() << "\n";
    pgsteady::testing::kill_orphans();
    return 1;
  }
}
