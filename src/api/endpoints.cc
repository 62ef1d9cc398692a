#include "api/endpoints.h"

#include <boost/json/serialize.hpp>
#include <map>

#include "api/health.h"
#include "api/metrics.h"
#include "api/status_json.h"

namespace pgsteady::api {
namespace {

using agent::NodeStatus;
using std::chrono::nanoseconds;

struct Call {
  const NodeStatus& status;
  const http::Request& request;
  nanoseconds now;
};

http::Response with_status_document(const Call& call, bool good) {
  return {good ? 200 : 503, boost::json::serialize(node_document(call.status, call.now)), {}, {}};
}

http::Response patroni(const Call& call) {
  return with_status_document(call, true);
}

http::Response cluster(const Call& call) {
  auto document = cluster_document(call.status.cluster, call.status.scope);
  return {200, boost::json::serialize(document), {}, {}};
}

http::Response history(const Call& call) {
  return {200, history_to_json(call.status.cluster.history), {}, {}};
}

http::Response config(const Call& call) {
  if (!call.status.cluster.config) return {502, "", {}, {}};
  return {200, boost::json::serialize(call.status.cluster.config->raw), {}, {}};
}

http::Response failsafe(const Call& call) {
  if (!call.status.cluster.failsafe) return {502, "", {}, {}};
  return {200, failsafe_to_json(*call.status.cluster.failsafe), {}, {}};
}

http::Response metrics(const Call& call) {
  return {200, metrics_text(call.status, call.now), "text/plain; version=0.0.4", {}};
}

http::Response liveness(const Call& call) {
  return {alive(call.status, call.now) ? 200 : 503, "", {}, {}};
}

http::Response readiness(const Call& call) {
  return {ready(call.status, call.request, call.now) ? 200 : 503, "", {}, {}};
}

using Endpoint = http::Response (*)(const Call&);
const std::map<std::string, Endpoint>& endpoints() {
  static const std::map<std::string, Endpoint> table = {
      {"patroni", patroni},   {"cluster", cluster},     {"history", history},
      {"config", config},     {"failsafe", failsafe},   {"metrics", metrics},
      {"liveness", liveness}, {"readiness", readiness},
  };
  return table;
}

http::Response get(const Call& call, const std::string& name) {
  if (auto found = endpoints().find(name); found != endpoints().end()) return found->second(call);
  bool good = healthy(name, call.status, call.request, call.now).value_or(false);
  return with_status_document(call, good);
}

std::string first_segment(const std::string& path) {
  auto begin = path.find_first_not_of('/');
  if (begin == path.npos) return "";
  return path.substr(begin, path.find('/', begin) - begin);
}

}  // namespace

http::Response respond(const NodeStatus& status, const http::Request& request, nanoseconds now) {
  bool head = request.method == "HEAD" || request.method == "OPTIONS";
  if (!head && request.method != "GET") {
    return {501, "unsupported method\n", "text/plain", {}};
  }
  auto response = get({status, request, now}, first_segment(request.path));
  if (response.content_type.empty() && !response.body.empty()) {
    response.content_type = "application/json";
  }
  if (head) response.body.clear();
  return response;
}

}  // namespace pgsteady::api
