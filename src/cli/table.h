// The table of `list`: the cluster document as rows, drawn as patronictl draws them.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

namespace pgsteady::cli {

struct Table {
  std::string title;                     // " Cluster: demo (7301...) "
  std::vector<std::string> columns;      // "Cluster" first; the pretty form leaves it out
  std::vector<boost::json::array> rows;  // "" where there is nothing
  std::vector<std::string> trailers;     // "Maintenance mode: on"
};

// `document` as of api::cluster_document; `initialize` as in etcd, "uninitialized" or
// "initializing".
Table member_table(const boost::json::object& document, const std::string& scope,
                   const std::string& initialize, bool extended);

// format: pretty, json, yaml, yml or tsv. Ends with a line break.
std::string render(const Table& table, const std::string& format);

}  // namespace pgsteady::cli
