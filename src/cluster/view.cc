#include "cluster/view.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "cluster/json.h"

namespace pgsteady {
namespace {

constexpr std::string_view kMembers = "members/";
constexpr std::string_view kUnfenced = "unfenced/";

void read_leader(const KeyValue& kv, ClusterView& view) {
  if (kv.value.empty()) {
    view.problems.push_back("leader: expected a member's name, found nothing");
  }
  // An unreadable leader key still holds the lock: nobody may pass over it.
  view.leader = LeaderKey{kv.value, kv.lease, kv.mod_revision};
}

void read_initialize(const KeyValue& kv, ClusterView& view) {
  if (!kv.value.empty() && !SystemId::parse(kv.value)) {
    view.problems.push_back("initialize: expected a system identifier, found '" + kv.value + "'");
  }
  view.initialize = kv.value;
  view.initialize_revision = kv.mod_revision;
  view.initialize_lease = kv.lease;
}

void read_config(const KeyValue& kv, ClusterView& view) {
  view.config_revision = kv.mod_revision;
  auto config = dynamic_config_from_json(kv.value);
  if (!config) {
    view.problems.push_back("config: " + config.error().message);
    return;
  }
  for (const auto& finding : config->wrong)
    view.problems.push_back("config: " + finding + "; the default holds");
  for (const auto& warning : config->warnings) view.problems.push_back("config: " + warning);
  view.config = std::move(*config);
}

void read_member(const KeyValue& kv, ClusterView& view) {
  auto member = member_from_json(kv.key.substr(kMembers.size()), kv.value);
  if (!member) {
    view.problems.push_back(kv.key + ": " + member.error().message);
    return;
  }
  member->lease = kv.lease;
  member->mod_revision = kv.mod_revision;
  view.members.push_back(std::move(*member));
}

void read_status(const KeyValue& kv, ClusterView& view) {
  auto object = parse_json_object(kv.value);
  if (!object) {
    view.problems.push_back("status: " + object.error().message);
    return;
  }
  FieldReader fields(*object);
  std::optional<Lsn> optime;
  fields.lsn("optime", optime);
  ClusterStatus status;
  status.optime = optime.value_or(Lsn{});
  if (const auto* slots = object->if_contains("slots"); slots && slots->is_object()) {
    FieldReader inner(slots->as_object());
    for (const auto& [name, unused] : slots->as_object()) {
      std::optional<Lsn> lsn;
      inner.lsn(name, lsn);
      if (lsn) status.slots.emplace(name, *lsn);
    }
  }
  if (const auto* names = object->if_contains("retain_slots"); names && names->is_array()) {
    for (const auto& name : names->as_array()) {
      if (name.is_string()) status.retain_slots.emplace_back(name.as_string());
    }
  }
  for (const auto& finding : fields.findings()) view.problems.push_back("status: " + finding);
  view.status = std::move(status);
  view.status_revision = kv.mod_revision;
}

std::optional<TimelineSwitch> read_switch(const boost::json::value& line) {
  if (!line.is_array() || line.as_array().size() < 2) return std::nullopt;
  const auto& parts = line.as_array();
  auto timeline = json_to_int(parts[0]);
  auto end = json_to_int(parts[1]);
  if (!timeline || !end || *timeline <= 0 || *timeline > UINT32_MAX || *end < 0) return {};
  auto text = [&](std::size_t i) {
    return i < parts.size() && parts[i].is_string() ? std::string(parts[i].as_string()) : "";
  };
  return TimelineSwitch{static_cast<Timeline>(*timeline), Lsn{static_cast<std::uint64_t>(*end)},
                        text(2), text(3), text(4)};
}

void read_history(const KeyValue& kv, ClusterView& view) {
  auto value = parse_json(kv.value);
  if (!value || !value->is_array()) {
    view.problems.push_back("history: expected a JSON array");
    return;
  }
  for (const auto& line : value->as_array()) {
    auto entry = read_switch(line);
    if (entry) {
      view.history.push_back(std::move(*entry));
    } else {
      view.problems.push_back("history: expected [timeline, lsn, reason, …], found " +
                              boost::json::serialize(line).substr(0, 60));
    }
  }
}

void read_failover(const KeyValue& kv, ClusterView& view) {
  FailoverRequest request;
  view.failover_revision = request.mod_revision = kv.mod_revision;
  if (!kv.value.starts_with('{')) {  // legacy "leader:candidate"
    auto colon = kv.value.find(':');
    if (colon == std::string::npos) {
      view.problems.push_back("failover: expected a JSON object or leader:candidate");
      return;
    }
    request.leader = kv.value.substr(0, colon);
    request.candidate = kv.value.substr(colon + 1);
    view.failover = std::move(request);
    return;
  }
  auto object = parse_json_object(kv.value);
  if (!object) {
    view.problems.push_back("failover: " + object.error().message);
    return;
  }
  if (object->empty()) return;
  FieldReader fields(*object);
  fields.text("leader", request.leader);
  fields.text("member", request.candidate);
  fields.text("scheduled_at", request.scheduled_at);
  fields.flag("force", request.force);
  for (const auto& finding : fields.findings()) view.problems.push_back("failover: " + finding);
  if (request.leader.empty() && request.candidate.empty()) {
    view.problems.push_back("failover: expected leader or member, or both");
    return;
  }
  if (fields.findings().empty()) view.failover = std::move(request);
}

void read_release(const KeyValue& kv, ClusterView& view) {
  auto object = parse_json_object(kv.value);
  if (!object) {
    view.problems.push_back("release: " + object.error().message);
    return;
  }
  ReleaseNote note;
  note.mod_revision = kv.mod_revision;
  std::optional<Lsn> end;
  std::int64_t timeline = 0;
  FieldReader fields(*object);
  fields.text("leader", note.leader);
  fields.number("leader_revision", note.leader_revision);
  fields.number("timeline", timeline);
  fields.lsn("end", end);
  for (const auto& finding : fields.findings()) view.problems.push_back("release: " + finding);
  note.timeline = static_cast<Timeline>(timeline);
  note.end = end.value_or(Lsn{});
  if (fields.findings().empty() && !note.leader.empty()) view.release = std::move(note);
}

void read_timeline(const KeyValue& kv, ClusterView& view) {
  view.reserved_revision = kv.mod_revision;
  auto number = parse_decimal(kv.value);
  if (!number || *number > UINT32_MAX) {
    view.problems.push_back("timeline: expected a number, found \"" + kv.value + "\"");
  } else {
    view.reserved_timeline = static_cast<Timeline>(*number);
  }
}

void read_failsafe(const KeyValue& kv, ClusterView& view) {
  view.failsafe_revision = kv.mod_revision;
  auto object = parse_json_object(kv.value);
  if (!object) {
    view.problems.push_back("failsafe: " + object.error().message);
    return;
  }
  FieldReader fields(*object);
  FailsafeMembers members;
  for (const auto& [name, unused] : *object) fields.text(name, members[name]);
  for (const auto& finding : fields.findings()) view.problems.push_back("failsafe: " + finding);
  if (fields.findings().empty()) view.failsafe = std::move(members);
}

std::set<MemberName> names_between_commas(std::string_view text) {
  std::set<MemberName> names;
  while (!text.empty()) {
    auto comma = std::min(text.find(','), text.size());
    if (comma > 0) names.emplace(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return names;
}

void read_sync(const KeyValue& kv, ClusterView& view) {
  view.sync_revision = kv.mod_revision;
  auto object = parse_json_object(kv.value);
  if (!object) {
    view.problems.push_back("sync: " + object.error().message);
    return;
  }
  SyncState sync;
  std::string standbys;
  std::int64_t quorum = 0;
  FieldReader fields(*object);
  fields.text("leader", sync.leader);
  fields.text("sync_standby", standbys);
  fields.number("quorum", quorum);
  sync.standbys = names_between_commas(standbys);
  sync.quorum = static_cast<int>(std::clamp<std::int64_t>(quorum, 0, 1000));
  for (const auto& finding : fields.findings()) view.problems.push_back("sync: " + finding);
  if (fields.findings().empty()) view.sync = std::move(sync);
}

}  // namespace

const Member* ClusterView::member(const MemberName& name) const {
  auto found = std::find_if(members.begin(), members.end(),
                            [&](const Member& member) { return member.name == name; });
  return found == members.end() ? nullptr : &*found;
}

const DynamicConfig& ClusterView::settings() const {
  static const DynamicConfig defaults;
  return config ? *config : defaults;
}

std::optional<SystemId> ClusterView::system_id() const {
  return initialize ? SystemId::parse(*initialize) : std::nullopt;
}

void keep_config(ClusterView& now, const ClusterView& before) {
  if (now.config || !before.config || !now.initialize || now.initialize != before.initialize)
    return;
  now.config = before.config;
  now.config_kept = true;
}

ClusterView parse_cluster(const std::vector<KeyValue>& keys, std::int64_t revision) {
  ClusterView view;
  view.revision = revision;
  for (const auto& kv : keys) {
    if (kv.key == "leader") read_leader(kv, view);
    if (kv.key == "initialize") read_initialize(kv, view);
    if (kv.key == "config") read_config(kv, view);
    if (kv.key == "status") read_status(kv, view);
    if (kv.key == "history") read_history(kv, view);
    if (kv.key == "failover") read_failover(kv, view);
    if (kv.key == "release") read_release(kv, view);
    if (kv.key == "timeline") read_timeline(kv, view);
    if (kv.key == "failsafe") read_failsafe(kv, view);
    if (kv.key == "sync") read_sync(kv, view);
    if (kv.key.starts_with(kUnfenced)) {
      view.unfenced[kv.key.substr(kUnfenced.size())] = kv.mod_revision;
    }
    if (kv.key.starts_with(kMembers) && kv.key.size() > kMembers.size()) read_member(kv, view);
  }
  std::sort(view.members.begin(), view.members.end(),
            [](const Member& a, const Member& b) { return a.name < b.name; });
  return view;
}

std::string status_to_json(const ClusterStatus& status) {
  boost::json::object out{{"optime", static_cast<std::int64_t>(status.optime.value)}};
  if (!status.slots.empty()) {
    boost::json::object slots;
    for (const auto& [name, lsn] : status.slots) slots[name] = static_cast<std::int64_t>(lsn.value);
    out["slots"] = std::move(slots);
  }
  if (!status.retain_slots.empty()) {
    out["retain_slots"] =
        boost::json::array(status.retain_slots.begin(), status.retain_slots.end());
  }
  return boost::json::serialize(out);
}

std::string history_to_json(const std::vector<TimelineSwitch>& history) {
  boost::json::array out;
  for (const auto& line : history) {
    boost::json::array entry{line.timeline, static_cast<std::int64_t>(line.end.value), line.reason};
    if (!line.time.empty()) entry.emplace_back(line.time);
    if (!line.time.empty() && !line.new_leader.empty()) entry.emplace_back(line.new_leader);
    out.emplace_back(std::move(entry));
  }
  return boost::json::serialize(out);
}

std::string failover_to_json(const FailoverRequest& request) {
  boost::json::object out;
  if (!request.leader.empty()) out["leader"] = request.leader;
  if (!request.candidate.empty()) out["member"] = request.candidate;
  if (!request.scheduled_at.empty()) out["scheduled_at"] = request.scheduled_at;
  if (request.force) out["force"] = true;
  return boost::json::serialize(out);
}

std::string sync_to_json(const SyncState& sync) {
  boost::json::object out{{"leader", sync.leader}, {"quorum", sync.quorum}};
  std::string standbys;
  for (const auto& name : sync.standbys) standbys += (standbys.empty() ? "" : ",") + name;
  if (standbys.empty()) {
    out["sync_standby"] = nullptr;
  } else {
    out["sync_standby"] = standbys;
  }
  return boost::json::serialize(out);
}

std::string failsafe_to_json(const FailsafeMembers& members) {
  boost::json::object out;
  for (const auto& [name, url] : members) out[name] = url;
  return boost::json::serialize(out);
}

std::string release_to_json(const ReleaseNote& note) {
  return boost::json::serialize(
      boost::json::object{{"leader", note.leader},
                          {"leader_revision", note.leader_revision},
                          {"timeline", note.timeline},
                          {"end", static_cast<std::int64_t>(note.end.value)}});
}

}  // namespace pgsteady
