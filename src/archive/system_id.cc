#include "archive/system_id.h"

#include <fmt/format.h>

#include <cstring>

#include "postgres/files.h"

namespace pgsteady::archive {
namespace {

constexpr char kKey[] = "sysids/sysid";

}  // namespace

std::optional<SystemId> local_system_id(const std::string& data_dir) {
  if (data_dir.empty()) return std::nullopt;
  const auto content = pg::read_file(data_dir + "/global/pg_control");
  SystemId system;
  if (!content || content->size() < sizeof system.value) return std::nullopt;
  std::memcpy(&system.value, content->data(), sizeof system.value);
  return system;
}

Result<SystemId> archive_system_id(store::ObjectStore& store) {
  auto text = store::get_text(store, kKey, 64);
  if (!text) return tl::unexpected(text.error());
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  const auto system = SystemId::parse(*text);
  if (system) return *system;
  return fail(ErrorKind::corrupt, fmt::format("{} in {} is no identifier", kKey, store.name()),
              "write the system identifier that pg_controldata tells into it");
}

Result<void> claim_archive(store::ObjectStore& store, SystemId system) {
  auto owner = archive_system_id(store);
  if (!owner && owner.error().kind == ErrorKind::not_found) {
    auto stored = put_text(store, kKey, system.text() + "\n", store::Put::if_absent);
    if (!stored) return tl::unexpected(stored.error());
    if (*stored == store::Stored::created) return {};
    owner = archive_system_id(store);  // another node was first
  }
  if (!owner) return tl::unexpected(owner.error());
  if (*owner == system) return {};
  return fail(ErrorKind::refused,
              fmt::format("the archive {} belongs to the system {}, this one is {}", store.name(),
                          owner->text(), system.text()),
              "give each cluster an archive of its own");
}

}  // namespace pgsteady::archive
