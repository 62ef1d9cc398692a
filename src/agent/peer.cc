#include "agent/peer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cluster/json.h"

namespace pgsteady::agent {
namespace {

namespace json = boost::json;

// The object under `key`; an empty one when it is absent.
json::object object_at(const json::object& outer, std::string_view key, FieldReader& fields) {
  const auto* value = outer.if_contains({key.data(), key.size()});
  if (!value || value->is_null()) return {};
  if (value->is_object()) return value->as_object();
  fields.complain(key, "an object");
  return {};
}

void add_findings(const FieldReader& fields, std::vector<std::string>& findings) {
  findings.insert(findings.end(), fields.findings().begin(), fields.findings().end());
}

Timeline read_timeline(FieldReader& fields) {
  std::int64_t number = 0;
  fields.number("timeline", number);
  if (number < 0 || number > UINT32_MAX) {
    fields.complain("timeline", "a timeline number");
    return 0;
  }
  return static_cast<Timeline>(number);
}

void read_xlog(const json::object& xlog, PeerStatus& peer, std::vector<std::string>& findings) {
  FieldReader fields(xlog);
  fields.lsn("location", peer.location);
  fields.lsn("received_location", peer.received_location);
  fields.lsn("replayed_location", peer.replayed_location);
  add_findings(fields, findings);
}

void read_own(const json::object& own, PeerStatus& peer, std::vector<std::string>& findings) {
  FieldReader fields(own);
  fields.text("version", peer.version);
  fields.text("instance", peer.instance);
  fields.flag("unfit", peer.unfit);
  auto race = object_at(own, "race", fields);
  add_findings(fields, findings);
  if (race.empty()) return;
  FieldReader race_fields(race);
  PeerStatus::Race figure;
  std::optional<Lsn> lsn;
  race_fields.number("leaderless_revision", figure.leaderless_revision);
  figure.timeline = read_timeline(race_fields);
  race_fields.lsn("lsn", lsn);
  if (!lsn) race_fields.complain("lsn", "a position");
  figure.lsn = lsn.value_or(Lsn{});
  add_findings(race_fields, findings);
  peer.race = figure;
}

void read_system_id(FieldReader& fields, PeerStatus& peer) {
  std::string text;
  fields.text("database_system_identifier", text);
  if (text.empty()) return;
  peer.system_id = SystemId::parse(text);
  if (!peer.system_id) fields.complain("database_system_identifier", "decimal digits");
}

}  // namespace

std::optional<Lsn> PeerStatus::last_lsn() const {
  if (is_primary()) return location;
  if (!received_location) return replayed_location;
  return replayed_location ? std::max(*received_location, *replayed_location) : received_location;
}

Result<PeerStatus> parse_patroni(std::string_view body) {
  auto object = parse_json_object(body);
  if (!object) return tl::unexpected(object.error());
  PeerStatus peer;
  std::vector<std::string> findings;
  FieldReader fields(*object);
  fields.text("state", peer.state);
  fields.text("role", peer.role);
  if (peer.role == "master") peer.role = "primary";
  fields.flag("pause", peer.pause);
  fields.flag("cluster_unlocked", peer.cluster_unlocked);
  peer.timeline = read_timeline(fields);
  read_system_id(fields, peer);
  peer.tags.values = object_at(*object, "tags", fields);
  read_xlog(object_at(*object, "xlog", fields), peer, findings);
  read_own(object_at(*object, "pgsteady", fields), peer, findings);
  auto identity = object_at(*object, "patroni", fields);
  FieldReader identity_fields(identity);
  identity_fields.text("name", peer.name);
  identity_fields.text("scope", peer.scope);
  add_findings(identity_fields, findings);
  add_findings(fields, findings);
  if (peer.state.empty()) findings.push_back("state: missing");
  if (findings.empty()) return peer;
  return fail(ErrorKind::corrupt, fmt::format("a peer's status: {}", fmt::join(findings, "; ")));
}

}  // namespace pgsteady::agent
