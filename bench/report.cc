#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace pgsteady::bench {

namespace json = boost::json;

std::vector<double> Row::outages() const {
  std::vector<double> all;
  for (const auto& o : outcomes) all.push_back(static_cast<double>(o.outage.count()) / 1000);
  std::sort(all.begin(), all.end());
  return all;
}

double Row::median() const {
  auto all = outages();
  if (all.empty()) return 0;
  return (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2;
}

double Row::maximum() const {
  return outcomes.empty() ? 0 : outages().back();
}

std::size_t Row::sum(std::size_t Outcome::*field) const {
  std::size_t total = 0;
  for (const auto& o : outcomes) total += o.*field;
  return total;
}

std::size_t Row::restarts() const {
  return static_cast<std::size_t>(
      std::count_if(outcomes.begin(), outcomes.end(), [](auto& o) { return o.restarted; }));
}

std::size_t Row::failures() const {
  return static_cast<std::size_t>(
      std::count_if(outcomes.begin(), outcomes.end(), [](auto& o) { return !o.recovered; }));
}

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

std::string markdown(std::vector<Row> rows, const std::vector<System>& used) {
  auto rank = [all = faults()](const Row& row) {
    return std::find_if(all.begin(), all.end(), [&](auto& f) { return f.key == row.fault_key; }) -
           all.begin();
  };
  std::stable_sort(rows.begin(), rows.end(), [&](auto& a, auto& b) { return rank(a) < rank(b); });
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

std::string to_line(const std::string& fault_key, const Outcome& o) {
  return fmt::format("{} {} {} {} {:d} {:d}", fault_key, o.outage.count(), o.lost, o.stale_acks,
                     o.restarted, o.recovered);
}

std::optional<std::pair<std::string, Outcome>> from_line(const std::string& line) {
  std::istringstream in(line);
  std::string fault;
  std::int64_t ms = 0;
  Outcome o;
  if (!(in >> fault >> ms >> o.lost >> o.stale_acks >> o.restarted >> o.recovered)) return {};
  o.outage = Millis(ms);
  return std::pair{fault, o};
}

}  // namespace pgsteady::bench
