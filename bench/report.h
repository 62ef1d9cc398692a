// What a run has measured, and how it is shown.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "failover.h"

namespace pgsteady::bench {

// All repetitions of one fault on one system. Times in seconds.
struct Row {
  std::string fault_title, system_title, fault_key, system_key;
  std::vector<Outcome> outcomes;

  std::vector<double> outages() const;  // sorted
  double median() const;
  double maximum() const;
  std::size_t sum(std::size_t Outcome::*field) const;
  std::size_t restarts() const;
  std::size_t failures() const;  // not healthy afterwards
};

boost::json::object to_json(const Row& row);

// One line each of what was set.
std::string settings_text(const std::vector<System>& all);

// A table, one line a row, in the order of the faults, and the settings below it.
std::string markdown(std::vector<Row> rows, const std::vector<System>& used);

// An outcome as one line of text, and back; nullopt: not such a line.
std::string to_line(const std::string& fault_key, const Outcome& outcome);
std::optional<std::pair<std::string, Outcome>> from_line(const std::string& line);

}  // namespace pgsteady::bench
