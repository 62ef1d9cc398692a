// A request and its response as plain values.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteady::http {

struct Request {
  std::string method;                          // "GET"
  std::string path;                            // percent-decoded, without the query: "/replica"
  std::map<std::string, std::string> query;    // decoded; of a key given twice the first counts
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

struct Response {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
};

// Splits "/replica?lag=1MB" into path and query. False when it starts with no slash or an escape is
// broken.
bool parse_target(std::string_view target, Request& request);

// The value of the header Authorization: "Basic " and the two in base64.
std::string basic_authorization(const std::string& user, const std::string& password);

}  // namespace pgsteady::http
