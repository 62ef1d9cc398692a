// bench_failover failover|idle: runs the systems one after the other on the same machine with the
// same writer, and writes a table and a JSON file.
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

struct Row {
  std::string fault_title, system_title, fault_key, system_key;
  std::vector<Outcome> outcomes;

  std::vector<double> outages() const {  // sorted, seconds
    std::vector<double> all;
    for (const auto& o : outcomes) all.push_back(static_cast<double>(o.outage.count()) / 1000);
    std::sort(all.begin(), all.end());
    return all;
  }
  double median() const {
    auto all = outages();
    if (all.empty()) return 0;
    return (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
  }
  double maximum() const { return outages().empty() ? 0 : outages().back(); }
  std::size_t sum(std::size_t Outcome::*field) const {
    std::size_t total = 0;
    for (const auto& o : outcomes) total += o.*field;
    return total;
  }
  std::size_t restarts() const {
    return static_cast<std::size_t>(
        std::count_if(outcomes.begin(), outcomes.end(), [](auto& o) { return o.restarted; }));
  }
  std::size_t failures() const {
    return static_cast<std::size_t>(
        std::count_if(outcomes.begin(), outcomes.end(), [](auto& o) { return !o.recovered; }));
  }
};

json::object to_json(const Row& row) {
  json::array outages;
  for (const auto& o : row.outcomes) outages.push_back(o.outage.count());
  return {{"fault", row.fault_key},
          {"system", row.system_key},
          {"repetitions", row.outcomes.size()},
          {"outage_ms", outages},
          {"median_s", row.median()},
          {"maximum_s", row.maximum()},
          {"lost_acknowledged", row.sum(&Outcome::lost)},
          {"old_primary_acks", row.sum(&Outcome::stale_acks)},
          {"server_restarts", row.restarts()},
          {"not_recovered", row.failures()}};
}

std::string settings_text(const std::vector<System>& all) {
  std::string text;
  for (const auto& system : all) {
    std::string dcs;
    for (const auto& line : system.options.dcs) dcs += (dcs.empty() ? "" : ", ") + line;
    text += fmt::format("- {}: {}\n", system.title, dcs);
  }
  return text +
         "- PostgreSQL 15, asynchronous replication, three nodes, one machine; etcd 3.4 on "
         "loopback;"
         " a commit every 10 ms over a multi-host connection, reconnecting after 10 ms\n";
}

std::string markdown(const std::vector<Row>& rows, const std::vector<System>& used) {
  std::string text =
      "| Fault | System | Outage median / maximum | Lost acknowledged | Old primary's acks after "
      "the"
      " new one's | Server restarted | Repetitions |\n|---|---|---|---|---|---|---|\n";
  for (const auto& row : rows) {
    text +=
        fmt::format("| {} | {} | {:.2f} s / {:.2f} s | {} | {} | {} | {}{} |\n", row.fault_title,
                    row.system_title, row.median(), row.maximum(), row.sum(&Outcome::lost),
                    row.sum(&Outcome::stale_acks), row.restarts(), row.outcomes.size(),
                    row.failures() ? fmt::format(" ({} did not recover)", row.failures()) : "");
  }
  return text + "\nSettings:\n\n" + settings_text(used);
}

void save(const Arguments& arguments, const std::string& table, const json::value& data) {
  if (!arguments.markdown_path.empty()) std::ofstream(arguments.markdown_path) << table;
  if (!arguments.json_path.empty()) {
    std::ofstream(arguments.json_path) << json::serialize(data) << "\n";
  }
}

Row measure(Rig& rig, const System& system, const Fault& fault, int reps, std::mt19937& random) {
  Row row{fault.title, system.title, fault.key, system.key, {}};
  std::uniform_int_distribution<std::int64_t> phase(
      0, std::min(system.ttl.count(), Millis(10000).count()));
  for (int i = 0; i < reps; ++i) {
    auto outcome = run_once(rig.cluster(), rig.etcd(), system, fault, Millis(phase(random)));
    row.outcomes.push_back(outcome);
    fmt::print(stderr, "{} | {} | {}/{}: outage {} ms, lost {}, old acks {}{}{}\n", system.key,
               fault.key, i + 1, reps, outcome.outage.count(), outcome.lost, outcome.stale_acks,
               outcome.restarted ? ", restarted" : "", outcome.recovered ? "" : ", NOT RECOVERED");
    if (!outcome.recovered) {
      fmt::print(stderr, "{}", rig.cluster().logs(15));
      rig.renew();
    }
  }
  return row;
}

int bench_failover(const Arguments& arguments) {
  std::mt19937 random(arguments.seed);
  std::vector<Row> rows;
  std::vector<System> used;
  for (const auto& system : systems()) {
    if (!chosen(arguments.only_systems, system.key)) continue;
    used.push_back(system);
    std::unique_ptr<Rig> rig;
    int members = 0;
    for (const auto& fault : faults()) {
      if (!chosen(arguments.only_faults, fault.key)) continue;
      if (members != fault.etcd_members) {
        rig.reset();
        rig = std::make_unique<Rig>(system, members = fault.etcd_members);
      }
      rows.push_back(measure(*rig, system, fault, arguments.reps, random));
      // Written after each row: a long run that is interrupted keeps what it has.
      json::array data;
      for (const auto& row : rows) data.push_back(to_json(row));
      save(arguments, markdown(rows, used),
           json::object{
               {"seed", arguments.seed}, {"settings", settings_text(used)}, {"rows", data}});
    }
  }
  auto rank = [](const Row& row) {
    auto all = faults();
    return std::find_if(all.begin(), all.end(), [&](auto& f) { return f.key == row.fault_key; }) -
           all.begin();
  };
  std::stable_sort(rows.begin(), rows.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
  auto table = markdown(rows, used);
  if (!arguments.markdown_path.empty()) std::ofstream(arguments.markdown_path) << table;
  std::cout << table;
  return 0;
}

int bench_idle(const Arguments& arguments) {
  std::string table =
      "| System | Agent PSS | Agent CPU | Guardian PSS | Guardian CPU | Raft proposals |\n"
      "|---|---|---|---|---|---|\n";
  json::array data;
  for (const auto& system : systems()) {
    if (!chosen(arguments.only_systems, system.key)) continue;
    Rig rig(system, 1);
    testing::eventually(
        Millis(20000), [] { return false; }, Millis(1000));  // until it is idle
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

template <typename Range>
std::string keys_of(const Range& range) {
  std::string text;
  for (const auto& entry : range) text += (text.empty() ? "" : ", ") + entry.key;
  return text;
}

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("write outages and running costs, measured against Debian's Patroni");
  app.add_option("what", arguments.what, "failover or idle")
      ->check(CLI::IsMember({"failover", "idle"}));
  app.add_option("--reps", arguments.reps, "repetitions of each fault (20)");
  app.add_option("--systems", arguments.only_systems, "of " + keys_of(systems()))->delimiter(',');
  app.add_option("--only", arguments.only_faults, "of " + keys_of(faults()))->delimiter(',');
  app.add_option("--json", arguments.json_path, "also write the figures here");
  app.add_option("--markdown", arguments.markdown_path, "also write the table here");
  app.add_option("--seconds", arguments.seconds, "how long idle is watched (60)");
  app.add_option("--seed", arguments.seed, "of the random phases (1)");
  CLI11_PARSE(app, argc, argv);
  testing::adopt_orphans();
  int result = arguments.what == "idle" ? bench_idle(arguments) : bench_failover(arguments);
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
