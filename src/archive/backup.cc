#include "archive/backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>

#include "archive/wal_name.h"
#include "cluster/json.h"

namespace pgsteady::archive {
namespace {

namespace json = boost::json;

constexpr std::string_view kSentinelEnd = "_backup_stop_sentinel.json";
constexpr char kDateFormat[] = "%Y-%m-%dT%H:%M:%S.%fZ";
constexpr std::size_t kSentinelLimitBytes = 64 << 20;

std::string text_at(const json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

// Numbers, and WAL-E's numbers in quotes.
std::uint64_t number_at(const json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  if (!value) return 0;
  if (value->is_string()) return parse_decimal(std::string(value->as_string())).value_or(0);
  if (value->is_uint64()) return value->as_uint64();
  if (value->is_int64() && value->as_int64() >= 0) {
    return static_cast<std::uint64_t>(value->as_int64());
  }
  return 0;
}

bool flag_at(const json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value && value->is_bool() && value->as_bool();
}

const json::object* object_at(const json::object& object, const char* key) {
  const auto* value = object.if_contains(key);
  return value && value->is_object() ? &value->as_object() : nullptr;
}

std::vector<Tablespace> tablespaces_of(const json::object* spec) {
  std::vector<Tablespace> result;
  const auto* oids = spec ? spec->if_contains("tablespaces") : nullptr;
  if (!oids || !oids->is_array()) return result;
  for (const auto& oid : oids->as_array()) {
    if (!oid.is_string()) continue;
    const std::string text(oid.as_string());
    const auto* one = object_at(*spec, text.c_str());
    if (one) result.push_back({text, text_at(*one, "loc")});
  }
  return result;
}

json::value spec_of(const Backup& backup) {
  if (backup.tablespaces.empty()) return nullptr;
  json::object spec{{"base_prefix", backup.data_dir}};
  json::array oids;
  for (const auto& space : backup.tablespaces) {
    oids.emplace_back(space.oid);
    spec[space.oid] = {{"loc", space.location}, {"link", "pg_tblspc/" + space.oid}};
  }
  spec["tablespaces"] = std::move(oids);
  return spec;
}

std::map<std::string, PartSum> parts_of(const json::object& sentinel) {
  std::map<std::string, PartSum> parts;
  const auto* own = object_at(sentinel, "Pgsteady");
  const auto* listed = own ? object_at(*own, "Parts") : nullptr;
  if (!listed) return parts;
  for (const auto& [name, value] : *listed) {
    if (!value.is_object()) continue;
    parts[std::string(name)] = {number_at(value.as_object(), "Size"),
                                text_at(value.as_object(), "Sha256")};
  }
  return parts;
}

Backup of_wal_e(Backup backup, const json::object& object) {
  backup.by_wal_e = true;
  backup.uncompressed_bytes = number_at(object, "expanded_size_bytes");
  backup.stop_segment = text_at(object, "wal_segment_backup_stop");
  backup.stop_offset = text_at(object, "wal_segment_offset_backup_stop");
  backup.tablespaces = tablespaces_of(object_at(object, "spec"));
  return backup;
}

// The segment that a name begins with: "base_<24 hex>...".
std::optional<WalName> segment_of(const std::string& name) {
  constexpr std::size_t kPrefix = 5, kSegment = 24;
  if (!name.starts_with("base_") || name.size() < kPrefix + kSegment) return std::nullopt;
  return parse_wal_name(std::string_view(name).substr(kPrefix, kSegment));
}

std::string name_of_sentinel(const std::string& key) {
  const auto name = key.substr(std::string_view(kBackupFolder).size());
  const bool is_sentinel = name.ends_with(kSentinelEnd) && name.find('/') == std::string::npos;
  return is_sentinel ? name.substr(0, name.size() - kSentinelEnd.size()) : "";
}

}  // namespace

std::string sentinel_key(const std::string& name) {
  return kBackupFolder + name + std::string(kSentinelEnd);
}

json::object sentinel_of(const Backup& backup) {
  json::object parts;
  for (const auto& [name, sum] : backup.parts) {
    parts[name] = {{"Size", sum.size_bytes}, {"Sha256", sum.sha256}};
  }
  return {{"LSN", backup.start_lsn.value},
          {"FinishLSN", backup.finish_lsn.value},
          {"PgVersion", backup.pg_version},
          {"SystemIdentifier", backup.system.value},
          {"UncompressedSize", backup.uncompressed_bytes},
          {"CompressedSize", backup.compressed_bytes},
          {"DataCatalogSize", backup.uncompressed_bytes},
          {"Spec", spec_of(backup)},
          {"UserData", nullptr},
          {"FilesMetadataDisabled", true},
          {"ChkpNum", nullptr},
          {"Version", 2},
          {"StartTime", backup.start_time},
          {"FinishTime", backup.finish_time},
          {"DateFmt", kDateFormat},
          {"Hostname", backup.hostname},
          {"DataDir", backup.data_dir},
          {"IsPermanent", backup.permanent},
          {"Pgsteady", {{"Version", PGSTEADY_VERSION}, {"Parts", std::move(parts)}}}};
}

json::object metadata_of(const Backup& backup) {
  return {{"start_time", backup.start_time},
          {"finish_time", backup.finish_time},
          {"date_fmt", kDateFormat},
          {"hostname", backup.hostname},
          {"data_dir", backup.data_dir},
          {"pg_version", backup.pg_version},
          {"start_lsn", backup.start_lsn.value},
          {"finish_lsn", backup.finish_lsn.value},
          {"is_permanent", backup.permanent},
          {"system_identifier", backup.system.value},
          {"uncompressed_size", backup.uncompressed_bytes},
          {"compressed_size", backup.compressed_bytes},
          {"user_data", nullptr}};
}

Result<Backup> parse_sentinel(const std::string& name, const std::string& text) {
  boost::system::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) {
    return fail(ErrorKind::corrupt, fmt::format("the sentinel of {} is no JSON object", name));
  }
  const auto& object = value.as_object();
  Backup backup;
  backup.name = name;
  const auto segment = segment_of(name);
  if (segment) backup.timeline = segment->timeline;
  if (object.contains("wal_segment_backup_stop")) return of_wal_e(std::move(backup), object);
  if (!object.contains("LSN") || !object.contains("FinishLSN")) {
    return fail(ErrorKind::corrupt, fmt::format("the sentinel of {} tells no LSN", name));
  }
  backup.start_lsn = Lsn{number_at(object, "LSN")};
  backup.finish_lsn = Lsn{number_at(object, "FinishLSN")};
  backup.pg_version = static_cast<int>(number_at(object, "PgVersion"));
  backup.system = SystemId{number_at(object, "SystemIdentifier")};
  backup.start_time = text_at(object, "StartTime");
  backup.finish_time = text_at(object, "FinishTime");
  backup.hostname = text_at(object, "Hostname");
  backup.data_dir = text_at(object, "DataDir");
  backup.uncompressed_bytes = number_at(object, "UncompressedSize");
  backup.compressed_bytes = number_at(object, "CompressedSize");
  backup.permanent = flag_at(object, "IsPermanent");
  backup.base_of_delta = text_at(object, "DeltaFullName");
  if (backup.base_of_delta.empty()) backup.base_of_delta = text_at(object, "DeltaFrom");
  backup.tablespaces = tablespaces_of(object_at(object, "Spec"));
  backup.parts = parts_of(object);
  return backup;
}

Result<std::vector<Backup>> list_backups(store::ObjectStore& store) {
  std::vector<store::ObjectInfo> sentinels;
  auto listed = store.list(kBackupFolder, [&](const store::ObjectInfo& info) {
    if (!name_of_sentinel(info.key).empty()) sentinels.push_back(info);
    return true;
  });
  if (!listed) return tl::unexpected(listed.error());
  std::vector<Backup> backups;
  for (const auto& info : sentinels) {
    auto text = store::get_text(store, info.key, kSentinelLimitBytes);
    if (!text) return tl::unexpected(text.error());
    auto backup = parse_sentinel(name_of_sentinel(info.key), *text);
    if (!backup) return tl::unexpected(backup.error());
    backup->modified = info.modified;
    backups.push_back(std::move(*backup));
  }
  std::sort(backups.begin(), backups.end(), [](const Backup& a, const Backup& b) {
    return std::tie(a.modified, a.name) < std::tie(b.modified, b.name);
  });
  return backups;
}

Result<Backup> find_backup(store::ObjectStore& store, const std::string& name) {
  auto backups = list_backups(store);
  if (!backups) return tl::unexpected(backups.error());
  if (name == "LATEST" && !backups->empty()) return backups->back();
  for (auto& backup : *backups) {
    if (backup.name == name) return std::move(backup);
  }
  return fail(ErrorKind::not_found,
              name == "LATEST" ? fmt::format("there is no backup in {}", store.name())
                               : fmt::format("there is no backup {} in {}", name, store.name()),
              "backup-list shows what there is");
}

}  // namespace pgsteady::archive
