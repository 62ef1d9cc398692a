// Reading JSON that somebody else may have written: typed look-ups that say what was wrong.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/types.h"

namespace pgsteady {

// At most 1 MiB, at most 32 levels deep. ErrorKind::corrupt.
Result<boost::json::value> parse_json(std::string_view text);
Result<boost::json::object> parse_json_object(std::string_view text);

// Takes typed fields out of an object. A field that is absent or null leaves the target as it is;
// one of a wrong type leaves it too and adds a line to findings().
class FieldReader {
 public:
  explicit FieldReader(const boost::json::object& object) : object_(object) {}

  void text(std::string_view key, std::string& out);
  void flag(std::string_view key, bool& out);
  void number(std::string_view key, std::int64_t& out);
  void lsn(std::string_view key, std::optional<Lsn>& out);  // a number, as etcd's values have it
  const std::vector<std::string>& findings() const { return findings_; }
  void complain(std::string_view key, std::string_view expected);

 private:
  const boost::json::value* find(std::string_view key) const;

  const boost::json::object& object_;
  std::vector<std::string> findings_;
};

// true, "true"/"yes"/"on"/"1" in any case, or a number other than 0 are true; the opposites false.
std::optional<bool> json_to_bool(const boost::json::value& value);
std::optional<std::int64_t> json_to_int(const boost::json::value& value);  // also from "12"

}  // namespace pgsteady
