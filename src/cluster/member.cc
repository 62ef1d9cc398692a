#include "cluster/member.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>

#include "cluster/json.h"

namespace pgsteady {
namespace {

void put_text(boost::json::object& out, const char* key, const std::string& value) {
  if (!value.empty()) out[key] = value;
}

void put_lsn(boost::json::object& out, const char* key, const std::optional<Lsn>& value) {
  if (value) out[key] = static_cast<std::int64_t>(value->value);
}

}  // namespace

bool Tags::is_set(std::string_view tag) const {
  const auto* value = values.if_contains({tag.data(), tag.size()});
  return value && json_to_bool(*value).value_or(false);
}

bool Tags::is_switch(std::string_view tag) {
  static constexpr std::array<std::string_view, 5> kSwitches = {
      "clonefrom", "nofailover", "noloadbalance", "nosync", "nostream"};
  return std::find(kSwitches.begin(), kSwitches.end(), tag) != kSwitches.end();
}

boost::json::object Tags::told() const {
  boost::json::object out;
  for (const auto& [tag, value] : values) {
    bool has_a_say = tag == "nofailover" && values.contains("failover_priority");
    if (!is_switch(tag) || has_a_say || is_set(tag)) out[tag] = value;
  }
  return out;
}

std::int64_t Tags::number(std::string_view tag, std::int64_t otherwise) const {
  const auto* value = values.if_contains({tag.data(), tag.size()});
  return value ? json_to_int(*value).value_or(otherwise) : otherwise;
}

// Where both tags stand, nofailover decides, as Patroni has it.
std::int64_t Tags::failover_priority() const {
  if (is_set("nofailover")) return 0;
  const auto* priority = values.if_contains("failover_priority");
  auto number = priority ? json_to_int(*priority) : std::nullopt;
  auto least = values.contains("nofailover") ? 1 : 0;
  return std::max<std::int64_t>(number.value_or(1), least);
}

bool Tags::nofailover() const {
  return failover_priority() == 0;
}

std::string Tags::replicatefrom() const {
  const auto* value = values.if_contains("replicatefrom");
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

boost::json::object setting_changes_json(const SettingChanges& changes) {
  boost::json::object out;
  for (const auto& [name, change] : changes) {
    boost::json::object values;
    if (!change.old_value.empty()) values["old_value"] = change.old_value;
    if (!change.new_value.empty()) values["new_value"] = change.new_value;
    out[name] = std::move(values);
  }
  return out;
}

std::string member_to_json(const Member& member) {
  boost::json::object out;
  put_text(out, "conn_url", member.conn_url);
  put_text(out, "api_url", member.api_url);
  put_text(out, "state", member.state);
  put_text(out, "role", member.role);
  put_text(out, "version", member.version);
  put_text(out, "proxy_url", member.proxy_url);
  if (auto tags = member.tags.told(); !tags.empty()) out["tags"] = std::move(tags);
  if (member.checkpoint_after_promote_pending) out["checkpoint_after_promote"] = false;
  if (member.pending_restart) out["pending_restart"] = true;
  if (!member.pending_restart_reason.empty()) {
    out["pending_restart_reason"] = member.pending_restart_reason;
  }
  put_lsn(out, "xlog_location", member.xlog_location);
  put_lsn(out, "replay_lsn", member.replay_lsn);
  put_lsn(out, "receive_lsn", member.receive_lsn);
  put_text(out, "replication_state", member.replication_state);
  if (member.timeline != 0) out["timeline"] = member.timeline;
  if (!member.scheduled_restart.empty()) out["scheduled_restart"] = member.scheduled_restart;
  if (member.pause) out["pause"] = true;
  return boost::json::serialize(out);
}

Result<Member> member_from_json(MemberName name, std::string_view json) {
  auto object = parse_json_object(json);
  if (!object) return tl::unexpected(object.error());
  Member member;
  member.name = std::move(name);
  FieldReader fields(*object);
  fields.text("conn_url", member.conn_url);
  fields.text("api_url", member.api_url);
  fields.text("state", member.state);
  fields.text("role", member.role);
  fields.text("version", member.version);
  fields.text("proxy_url", member.proxy_url);
  fields.text("replication_state", member.replication_state);
  fields.lsn("xlog_location", member.xlog_location);
  fields.lsn("replay_lsn", member.replay_lsn);
  fields.lsn("receive_lsn", member.receive_lsn);
  fields.flag("pending_restart", member.pending_restart);
  fields.flag("pause", member.pause);
  bool checkpointed = true;
  fields.flag("checkpoint_after_promote", checkpointed);
  member.checkpoint_after_promote_pending = !checkpointed;
  std::int64_t timeline = 0;
  fields.number("timeline", timeline);
  if (timeline < 0 || timeline > UINT32_MAX) fields.complain("timeline", "a timeline number");
  member.timeline = static_cast<Timeline>(timeline);
  if (const auto* tags = object->if_contains("tags"); tags && !tags->is_null()) {
    if (tags->is_object()) {
      member.tags.values = tags->as_object();
    } else {
      fields.complain("tags", "an object");
    }
  }
  if (const auto* reason = object->if_contains("pending_restart_reason");
      reason && reason->is_object()) {
    member.pending_restart_reason = reason->as_object();
  }
  if (const auto* restart = object->if_contains("scheduled_restart");
      restart && restart->is_object()) {
    member.scheduled_restart = restart->as_object();
  }
  if (!fields.findings().empty()) {
    return fail(ErrorKind::corrupt, fmt::format("{}", fmt::join(fields.findings(), "; ")));
  }
  if (member.role == "master") member.role = "primary";
  return member;
}

std::string HostPort::text() const {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

Result<HostPort> host_port_of_url(std::string_view url) {
  auto bad = [&] { return fail(ErrorKind::refused, fmt::format("no host in URL '{}'", url)); };
  auto rest = url;
  if (auto scheme = rest.find("://"); scheme != rest.npos) rest.remove_prefix(scheme + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (auto at = rest.rfind('@'); at != rest.npos) rest.remove_prefix(at + 1);
  HostPort result;
  std::string_view port;
  if (rest.starts_with('[')) {
    auto close = rest.find(']');
    if (close == rest.npos) return bad();
    result.host = rest.substr(1, close - 1);
    port = rest.substr(close + 1);
  } else {
    auto colon = rest.find(':');
    result.host = rest.substr(0, colon);
    if (colon != rest.npos) port = rest.substr(colon);
  }
  if (result.host.empty()) return bad();
  if (!port.empty()) {
    auto number = port.front() == ':' ? parse_decimal(port.substr(1)) : std::nullopt;
    if (!number || *number > 65535) return bad();
    result.port = static_cast<std::uint16_t>(*number);
  }
  return result;
}

}  // namespace pgsteady
