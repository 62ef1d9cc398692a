// One map of the configuration file, with the environment over it. Getters record what they find
// wrong and return the default; unread keys are told at the end by check_unread(). yaml-cpp's
// exceptions are caught by load(), which alone calls in here.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cluster/member.h"

namespace pgsteady::config {

// What was found wrong so far, each line starting with where: "node.yml:12: " or "PATRONI_NAME: ".
struct Findings {
  std::string file;
  std::vector<std::string> errors;
  std::vector<std::string> warnings;

  std::string at(const YAML::Node& node) const;  // "node.yml:12"
};

struct Override {
  std::string value;
  std::string variable;  // the environment variable it came from
};
using Overrides = std::map<std::string, Override>;  // by dotted path: "postgresql.listen"

class Section {
 public:
  // `path` is the dotted name ("postgresql.authentication"), empty for the file's top. A node that
  // is missing or null reads as an empty map; anything but a map is an error.
  Section(const YAML::Node& node, std::string path, const Overrides& overrides, Findings& findings);

  Section section(const std::string& key);
  YAML::Node node(const std::string& key);  // marks the key as read; may be undefined or null
  bool has(const std::string& key) const;   // in the file or the environment
  bool overridden(const std::string& key) const;

  std::optional<std::string> text(const std::string& key);
  std::string text_or(const std::string& key, std::string fallback);
  // A user's name or password: password files and connection strings hold it on one line. What it
  // is never stands in a finding.
  std::string credential_or(const std::string& key, std::string fallback);
  std::optional<bool> boolean(const std::string& key);
  // A list of texts; where the file has one text, it is split at commas.
  std::vector<std::string> texts(const std::string& key);
  // A list of lines which may hold commas (pg_hba).
  std::vector<std::string> lines(const std::string& key);
  std::optional<HostPort> host_port(const std::string& key, std::uint16_t default_port);

  void error(const std::string& key, const std::string& what);
  void warning(const std::string& key, const std::string& what);
  // Warns of every key that no getter asked for: "not honoured yet" for those in `known`, else
  // "unknown key".
  void check_unread(const std::set<std::string>& known);
  void mark_read(const std::string& key) { read_.insert(key); }

  const std::vector<std::pair<std::string, YAML::Node>>& entries() const { return entries_; }
  const std::string& path() const { return path_; }

 private:
  std::string name_of(const std::string& key) const;
  std::string where(const std::string& key) const;
  const Override* override_of(const std::string& key) const;
  void take_entries(const YAML::Node& map, bool merged);
  const YAML::Node* find(const std::string& key) const;

  YAML::Node node_;
  std::string path_;
  const Overrides& overrides_;
  Findings& findings_;
  std::vector<std::pair<std::string, YAML::Node>> entries_;
  std::set<std::string> read_;
};

// "host", "host:port", "[v6]:port"; nullopt when it is none of them.
std::optional<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port);
// Whether it means any address, so that nobody can connect to it by this name.
bool is_wildcard(std::string_view host);
// Trimmed parts between commas, empty ones left out.
std::vector<std::string> split_commas(std::string_view text);
// The word of `known` that `word` was probably meant to be, or empty.
std::string closest(const std::string& word, const std::set<std::string>& known);

}  // namespace pgsteady::config
