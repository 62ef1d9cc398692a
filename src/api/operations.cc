#include "api/operations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>

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
  operation->fill(fields, parsed);
  if (fields.findings().empty()) return parsed;
  return refuse(400, fmt::format("bad request: {}", fmt::join(fields.findings(), "; ")));
}

http::Response answer_operation(int status, std::string text) {
  return {status, std::move(text), "text/plain", {}};
}

}  // namespace pgsteady::api
