#include "cli/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <set>

namespace pgsteady::cli {
namespace {

namespace json = boost::json;

json::value field(const json::object& member, const char* key) {
  const auto* value = member.if_contains(key);
  return value ? *value : json::value("");
}

std::string text_of(const json::value& value) {
  if (value.is_string()) return std::string(value.as_string());
  return json::serialize(value);
}

// "sync_standby" → "Sync Standby"
std::string role_title(const json::value& role) {
  auto text = text_of(role);
  bool start = true;
  for (char& c : text) {
    if (c == '_') c = ' ';
    if (start && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    start = c == ' ';
  }
  return text;
}

// Bytes as whole MB; nothing for what is not known.
json::value lag_in_mb(const json::value& lag) {
  if (!lag.is_number()) return "";
  return static_cast<std::int64_t>(std::nearbyint(lag.to_number<double>() / (1 << 20)));
}

// The port is shown where it tells members apart, or is not PostgreSQL's own.
bool ports_matter(const json::array& members) {
  std::set<std::string> hosts;
  std::size_t count = 0;
  for (const auto& member : members) {
    const auto& object = member.as_object();
    if (!object.contains("host")) continue;
    ++count;
    hosts.insert(text_of(field(object, "host")));
    const auto* port = object.if_contains("port");
    if (port && port->to_number<int>() != 5432) return true;
  }
  return hosts.size() < count;
}

json::value cell(const json::object& member, const std::string& column, bool with_port) {
  if (column == "Member") return field(member, "name");
  if (column == "Host") {
    auto host = text_of(field(member, "host"));
    if (!with_port || host.empty() || !member.contains("port")) return json::value(host);
    return json::value(fmt::format("{}:{}", host, text_of(member.at("port"))));
  }
  if (column == "Role") return json::value(role_title(field(member, "role")));
  if (column == "State") return field(member, "state");
  if (column == "TL") return field(member, "timeline");
  if (column == "Receive LSN") return field(member, "receive_lsn");
  if (column == "Receive Lag") return lag_in_mb(field(member, "receive_lag"));
  if (column == "Replay LSN") return field(member, "replay_lsn");
  if (column == "Replay Lag") return lag_in_mb(field(member, "replay_lag"));
  if (column == "Pending restart") return member.contains("pending_restart") ? "*" : "";
  if (column == "Tags") return field(member, "tags");
  return "";
}

std::vector<std::string> trailers_of(const json::object& document) {
  std::vector<std::string> trailers;
  if (document.contains("pause")) trailers.push_back("Maintenance mode: on");
  if (const auto* switchover = document.if_contains("scheduled_switchover")) {
    const auto& object = switchover->as_object();
    auto text = "Switchover scheduled at: " + text_of(field(object, "at"));
    for (const char* key : {"from", "to"}) {
      if (object.contains(key)) text += fmt::format("\n{:>24}: {}", key, text_of(object.at(key)));
    }
    trailers.push_back(text);
  }
  return trailers;
}

// What counts is what a terminal shows: UTF-8's continuation bytes take no room.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

bool right_aligned(const std::string& column) {
  return column == "TL" || column == "Lag" || column == "Receive LSN" || column == "Replay LSN";
}

std::string padded(const std::string& text, std::size_t width, bool right) {
  std::string blanks(width - std::min(width, width_of(text)), ' ');
  return right ? blanks + text : text + blanks;
}

std::string rule(const std::vector<std::size_t>& widths) {
  std::string line = "+";
  for (auto width : widths) line += std::string(width + 2, '-') + "+";
  return line;
}

std::string pretty(const Table& table) {
  std::vector<std::string> columns(table.columns.begin() + 1, table.columns.end());
  for (auto& column : columns) {
    if (column == "Receive Lag" || column == "Replay Lag") column = "Lag";
  }
  std::vector<std::vector<std::string>> rows;
  std::vector<std::size_t> widths;
  widths.reserve(columns.size());
  for (const auto& column : columns) widths.push_back(width_of(column));
  for (const auto& row : table.rows) {
    rows.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      rows.back().push_back(text_of(row.at(i + 1)));
      widths[i] = std::max(widths[i], width_of(rows.back().back()));
    }
  }
  auto line = [&](const std::vector<std::string>& cells) {
    std::string text = "|";
    for (std::size_t i = 0; i < cells.size(); ++i) {
      text += " " + padded(cells[i], widths[i], right_aligned(columns[i])) + " |";
    }
    return text + "\n";
  };
  auto top = rule(widths);
  auto title = table.title.substr(0, top.size() - 2);
  top.replace(1, std::min(width_of(title), top.size() - 2), title);
  auto text = top + "\n" + line(columns) + rule(widths) + "\n";
  for (const auto& row : rows) text += line(row);
  text += rule(widths) + "\n";
  for (const auto& trailer : table.trailers) text += " " + trailer + "\n";
  return text;
}

std::string tsv(const Table& table) {
  auto text = fmt::format("{}\n", fmt::join(table.columns, "\t"));
  for (const auto& row : table.rows) {
    std::vector<std::string> cells;
    for (const auto& value : row) cells.push_back(text_of(value));
    text += fmt::format("{}\n", fmt::join(cells, "\t"));
  }
  return text;
}

json::array objects(const Table& table) {
  json::array out;
  for (const auto& row : table.rows) {
    json::object object;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (row.at(i) != json::value("")) object[table.columns[i]] = row.at(i);
    }
    out.push_back(std::move(object));
  }
  return out;
}

// JSON's texts, numbers and flow maps are YAML too.
std::string yaml(const Table& table) {
  std::string text;
  for (const auto& item : objects(table)) {
    const char* lead = "- ";
    for (const auto& [key, value] : item.as_object()) {
      text += fmt::format("{}{}: {}\n", lead, std::string_view(key), json::serialize(value));
      lead = "  ";
    }
  }
  return text.empty() ? "[]\n" : text;
}

}  // namespace

Table member_table(const json::object& document, const std::string& scope,
                   const std::string& initialize, bool extended) {
  Table table;
  table.title = fmt::format(" Cluster: {} ({}) ", scope, initialize);
  table.columns = {"Cluster", "Member",      "Host",        "Role",       "State",
                   "TL",      "Receive LSN", "Receive Lag", "Replay LSN", "Replay Lag"};
  const auto& members = document.at("members").as_array();
  auto any_has = [&](const char* key) {
    return std::any_of(members.begin(), members.end(),
                       [&](const auto& member) { return member.as_object().contains(key); });
  };
  if (extended || any_has("pending_restart")) table.columns.push_back("Pending restart");
  if (extended) table.columns.push_back("Pending restart reason");
  if (extended) table.columns.push_back("Scheduled restart");
  if (extended || any_has("tags")) table.columns.push_back("Tags");
  bool with_port = ports_matter(members);
  for (const auto& member : members) {
    json::array row{json::value(scope)};
    for (std::size_t i = 1; i < table.columns.size(); ++i) {
      row.push_back(cell(member.as_object(), table.columns[i], with_port));
    }
    table.rows.push_back(std::move(row));
  }
  table.trailers = trailers_of(document);
  return table;
}

std::string render(const Table& table, const std::string& format) {
  if (format == "json") return json::serialize(objects(table)) + "\n";
  if (format == "yaml" || format == "yml") return yaml(table);
  if (format == "tsv") return tsv(table);
  return pretty(table);
}

}  // namespace pgsteady::cli
