#include "api/operations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <array>
#include <map>
#include <set>

#include "cluster/json.h"

namespace pgsteady::api {
namespace {

using Kind = core::Request::Kind;
using Refusal = tl::unexpected<http::Response>;

Refusal refuse(int status, std::string text) {
  return Refusal(http::Response{status, std::move(text), "text/plain", {}});
}

// Takes as long whatever differs.
bool same_secret(const std::string& a, const std::string& b) {
  auto difference = static_cast<unsigned>(a.size() != b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |=
        static_cast<unsigned char>(a[i]) ^
        static_cast<unsigned>(b.empty() ? 0 : static_cast<unsigned char>(b[i % b.size()]));
  }
  return difference == 0;
}

tl::expected<void, http::Response> check_access(const http::Request& request,
                                                const Credentials& required) {
  if (required.username.empty()) return {};
  auto header = request.headers.find("authorization");
  bool given = header != request.headers.end();
  auto expected = http::basic_authorization(required.username, required.password);
  if (given && same_secret(header->second, expected)) return {};
  http::Response response{
      401, given ? "not authenticated" : "no auth header received", "text/plain", {}};
  response.headers.emplace_back("WWW-Authenticate", "Basic realm=\"Patroni\"");
  return Refusal(std::move(response));
}

using Fill = void (*)(FieldReader& fields, core::Request& request);

void fill_switchover(FieldReader& fields, core::Request& request) {
  fields.text("leader", request.leader);
  fields.text("member", request.candidate);
  fields.text("candidate", request.candidate);
  fields.text("scheduled_at", request.scheduled_at);
  fields.flag("force", request.force);
}

// "15.3" as 150003, "9.6.24" as 90624; 0: it is no version.
int version_number(std::string_view text) {
  std::array<std::uint64_t, 3> parts{};
  std::size_t count = 0;
  for (; count < parts.size() && !text.empty(); ++count) {
    auto dot = std::min(text.find('.'), text.size());
    auto part = parse_decimal(text.substr(0, dot));
    if (!part || *part > 99) return 0;
    parts[count] = *part;
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  if (!text.empty() || count < 2) return 0;
  bool old = parts[0] < 10;
  auto number = parts[0] * 10000 + (old ? parts[1] * 100 + parts[2] : parts[1]);
  return static_cast<int>(number);
}

// 30, "30", "30s", "5min", "1h": in seconds; 0: it is none of that.
std::chrono::seconds read_timeout(const boost::json::value& value) {
  static const std::map<std::string_view, int> units = {
      {"", 1}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
  if (auto number = json_to_int(value))
    return std::chrono::seconds(std::max<std::int64_t>(0, *number));
  if (!value.is_string()) return {};
  std::string_view text(value.as_string());
  auto end = std::min(text.find_first_not_of("0123456789"), text.size());
  auto number = parse_decimal(text.substr(0, end));
  text.remove_prefix(end);
  while (text.starts_with(' ')) text.remove_prefix(1);
  auto unit = units.find(text);
  if (!number || unit == units.end() || *number > 86400 * 365) return {};
  return std::chrono::seconds(static_cast<std::int64_t>(*number) * unit->second);
}

void fill_restart(FieldReader& fields, core::Request& request) {
  static const std::set<std::string_view> known = {"restart_pending", "role", "postgres_version",
                                                   "timeout", "schedule"};
  for (const auto& [key, value] : request.config) {
    if (!known.contains(std::string_view(key))) {
      return fields.complain(key, "no such filter for a restart");
    }
  }
  fields.flag("restart_pending", request.restart_pending);
  fields.text("role", request.role);
  fields.text("schedule", request.scheduled_at);
  std::string version;
  fields.text("postgres_version", version);
  request.postgres_version = version_number(version);
  static const std::set<std::string_view> roles = {"", "primary", "standby_leader", "replica"};
  if (!roles.contains(request.role)) {
    fields.complain("role", "primary, standby_leader, or replica");
  }
  if (!version.empty() && request.postgres_version == 0) {
    fields.complain("postgres_version", "a version such as 15.3");
  }
  const auto* timeout = request.config.if_contains("timeout");
  if (!timeout) return;
  request.timeout = read_timeout(*timeout);
  if (request.timeout.count() == 0) fields.complain("timeout", "a positive number of seconds");
}

void fill_reinitialize(FieldReader& fields, core::Request& request) {
  fields.flag("force", request.force);
}

void fill_config(FieldReader&, core::Request&) {}

struct Operation {
  Kind kind;
  Fill fill;  // none: there is no body
  bool body_optional = false;
};

const Operation* find_operation(const http::Request& request) {
  static const std::map<std::pair<std::string, std::string>, Operation> table = {
      {{"POST", "/switchover"}, {Kind::switchover, fill_switchover}},
      {{"POST", "/failover"}, {Kind::failover, fill_switchover}},
      {{"DELETE", "/switchover"}, {Kind::cancel_switchover, nullptr}},
      {{"POST", "/restart"}, {Kind::restart, fill_restart, true}},
      {{"DELETE", "/restart"}, {Kind::cancel_restart, nullptr}},
      {{"POST", "/reinitialize"}, {Kind::reinitialize, fill_reinitialize, true}},
      {{"POST", "/reload"}, {Kind::reload, nullptr}},
      {{"PATCH", "/config"}, {Kind::patch_config, fill_config}},
      {{"PUT", "/config"}, {Kind::put_config, fill_config}},
  };
  auto path = request.path;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  auto found = table.find({request.method, path});
  return found == table.end() ? nullptr : &found->second;
}

tl::expected<boost::json::object, http::Response> read_body(const http::Request& request,
                                                            bool optional) {
  bool has_length =
      request.headers.contains("content-length") || request.headers.contains("transfer-encoding");
  if (!has_length && !optional) return refuse(411, "a length is required");
  if (request.body.empty() && optional) return boost::json::object();
  auto object = parse_json_object(request.body);
  if (!object) return refuse(400, "bad request: " + object.error().message);
  if (object->empty() && !optional) return refuse(400, "bad request: the object is empty");
  return std::move(*object);
}

}  // namespace

bool is_operation(const http::Request& request) {
  return request.method != "GET" && request.method != "HEAD" && request.method != "OPTIONS";
}

tl::expected<core::Request, http::Response> parse_operation(const http::Request& request,
                                                            const Credentials& required) {
  const auto* operation = find_operation(request);
  if (!operation) return refuse(501, "unsupported method\n");
  if (auto access = check_access(request, required); !access) return Refusal(access.error());
  core::Request parsed;
  parsed.kind = operation->kind;
  if (!operation->fill) return parsed;
  auto body = read_body(request, operation->body_optional);
  if (!body) return Refusal(body.error());
  FieldReader fields(*body);
  parsed.config = *body;
  operation->fill(fields, parsed);
  if (fields.findings().empty()) return parsed;
  return refuse(400, fmt::format("bad request: {}", fmt::join(fields.findings(), "; ")));
}

http::Response answer_operation(int status, std::string text) {
  bool document = text.starts_with('{');
  return {status, std::move(text), document ? "application/json" : "text/plain", {}};
}

}  // namespace pgsteady::api
