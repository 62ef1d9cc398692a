#include "api/failsafe.h"

#include "cluster/json.h"

namespace pgsteady::api {
namespace {

using agent::Promises;
using std::chrono::milliseconds;

struct AskedPromise {
  std::string leader;
  lease::Epoch epoch;
  lease::Duration length = lease::kLongestPromise;  // Patroni does not say
};

Result<AskedPromise> parse_question(std::string_view body) {
  auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  AskedPromise question;
  FieldReader fields(*object);
  fields.text("name", question.leader);
  if (question.leader.empty()) fields.complain("name", "the leader's name");
  auto complaints = fields.findings();
  if (const auto* own = object->if_contains("pgsteady"); own && own->is_object()) {
    FieldReader inner(own->as_object());
    std::int64_t promise_ms = 0;
    inner.number("lease", question.epoch.lease);
    inner.number("revision", question.epoch.mod_revision);
    inner.number("promise_ms", promise_ms);
    if (promise_ms < 0 || promise_ms > 3'600'000) inner.complain("promise_ms", "milliseconds");
    question.length = milliseconds(promise_ms);
    complaints.insert(complaints.end(), inner.findings().begin(), inner.findings().end());
  }
  if (complaints.empty()) return question;
  return fail(ErrorKind::refused, complaints.front());
}

http::Response plain(int status, std::string text) {
  return {status, std::move(text), "text/html", {}};
}

}  // namespace

bool is_failsafe_question(const http::Request& request) {
  return request.method == "POST" && request.path == "/failsafe";
}

http::Response answer_failsafe(const agent::NodeStatus& status, agent::Promises& promises,
                               const http::Request& request, std::chrono::nanoseconds now) {
  if (!status.cluster.settings().failsafe_mode) return plain(502, "failsafe mode is off");
  auto question = parse_question(request.body);
  if (!question) return plain(400, question.error().message);
  auto& asked = *question;
  auto answer = promises.ask(asked.leader, asked.epoch, asked.length, lease::Instant(now));
  switch (answer) {
    case Promises::Answer::unknown:
      return plain(503, "Starting");
    case Promises::Answer::leading:
      return plain(500, "Running as a leader");
    case Promises::Answer::superseded:
      return plain(500, "A later leader is known");
    case Promises::Answer::promised:
      break;
  }
  auto response = plain(200, "Accepted");
  auto length = std::chrono::duration_cast<milliseconds>(asked.length).count();
  response.headers = {{"lsn", std::to_string(status.server.last_lsn().value)},
                      {agent::kPromiseHeader, std::to_string(length)}};
  return response;
}

}  // namespace pgsteady::api
