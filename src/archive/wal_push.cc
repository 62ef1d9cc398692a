#include "archive/wal_push.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "archive/local_file.h"
#include "archive/object.h"
#include "archive/system_id.h"
#include "archive/wal_header.h"
#include "postgres/control_file.h"
#include "postgres/files.h"

namespace pgsteady::archive {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::uint64_t kNoteLimitBytes = 1 << 20;  // .history and .backup are a few lines

// pg_wal's parent, which may be "" for the server's own working directory.
std::string data_dir_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path().parent_path();
  return parent.empty() ? "." : parent.string();
}

Result<std::optional<SystemId>> check_wal(const WalName& name, LocalReader& file,
                                          std::optional<SystemId> local) {
  std::string begin(kWalHeaderBytes, '\0');
  auto count = file.read(begin);
  if (!count) return tl::unexpected(count.error());
  begin.resize(*count);
  auto header = check_segment(name, begin, file.size_bytes(), local);
  if (!header) return tl::unexpected(header.error());
  if (auto back = file.rewind(); !back) return tl::unexpected(back.error());
  return std::optional(header->system);
}

Result<void> check_note(const WalName& name, const std::string& path, std::uint64_t size) {
  if (size == 0) return fail(ErrorKind::corrupt, fmt::format("{} is empty", name.text));
  if (size > kNoteLimitBytes) {
    return fail(ErrorKind::corrupt, fmt::format("{} has {} bytes", name.text, size));
  }
  if (name.kind != WalKind::history) return {};
  auto text = pg::read_file(path);
  if (!text) return tl::unexpected(text.error());
  auto history = pg::parse_history(*text);
  if (!history) return tl::unexpected(history.error());
  return {};
}

// Whom the file belongs to, as far as it or its data directory tells.
Result<std::optional<SystemId>> check(const WalName& name, const std::string& path,
                                      LocalReader& file) {
  const auto local = local_system_id(data_dir_of(path));
  if (name.kind == WalKind::segment || name.kind == WalKind::partial) {
    return check_wal(name, file, local);
  }
  if (auto good = check_note(name, path, file.size_bytes()); !good) {
    return tl::unexpected(good.error());
  }
  return local;
}

// Takes what the archive has, and tells whether it is what the file has.
Result<bool> same_content(store::ObjectStore& store, const std::string& key, LocalReader& file) {
  if (auto back = file.rewind(); !back) return tl::unexpected(back.error());
  std::string own;
  std::uint64_t total = 0;
  bool same = true;
  const Sink compare = [&](std::string_view theirs) -> Result<void> {
    total += theirs.size();
    while (same && !theirs.empty()) {
      own.resize(std::min(theirs.size(), kReadBytes));
      auto count = file.read(own);
      if (!count) return tl::unexpected(count.error());
      same = *count > 0 && std::memcmp(own.data(), theirs.data(), *count) == 0;
      theirs.remove_prefix(*count);
    }
    return {};
  };
  auto read = read_object(store, key, compare);
  if (!read && read.error().kind == ErrorKind::corrupt) return false;
  if (!read) return tl::unexpected(read.error());
  return same && total == file.size_bytes();
}

Result<Pushed> confirm(store::ObjectStore& store, const std::string& key, LocalReader& file) {
  auto same = same_content(store, key, file);
  if (!same) return tl::unexpected(same.error());
  if (*same) return Pushed::was_there;
  return fail(ErrorKind::refused,
              fmt::format("{} is in {} already, with another content", key, store.name()),
              "two servers may be archiving to the same place; look which one is right, and move "
              "the other's object away");
}

Result<store::Stored> store_file(store::Writer& writer, Stream& stream, LocalReader& file) {
  const Sink sink = [&](std::string_view bytes) { return writer.write(bytes); };
  std::string buffer(kReadBytes, '\0');
  std::uint64_t total = 0;
  for (;;) {
    auto count = file.read(buffer);
    if (!count) return tl::unexpected(count.error());
    if (*count == 0) break;
    total += *count;
    if (auto fed = stream.feed({buffer.data(), *count}, sink); !fed) {
      return tl::unexpected(fed.error());
    }
  }
  if (total != file.size_bytes()) {
    return fail(ErrorKind::retry,
                fmt::format("the file changed from {} to {} bytes while it was read",
                            file.size_bytes(), total));
  }
  if (auto done = stream.finish(sink); !done) return tl::unexpected(done.error());
  return writer.finish();
}

Result<Pushed> push_checked(store::ObjectStore& store, const Settings& settings,
                            const WalName& name, LocalReader& file) {
  auto there = find_object(store, wal_key(name));
  if (there) return confirm(store, there->key, file);
  if (there.error().kind != ErrorKind::not_found) return tl::unexpected(there.error());
  const auto key = wal_key(name) + extension(settings.method);
  auto stream = make_compressor(settings.method);
  if (!stream) return tl::unexpected(stream.error());
  auto writer = store.create(key, store::Put::if_absent);
  if (!writer) return tl::unexpected(writer.error());
  auto stored = store_file(**writer, **stream, file);
  if (!stored) return tl::unexpected(stored.error());
  if (*stored == store::Stored::existed) return confirm(store, key, file);
  return Pushed::stored;
}

}  // namespace

Result<Pushed> wal_push(store::ObjectStore& store, const Settings& settings,
                        const std::string& path) {
  const auto name = parse_wal_name(std::filesystem::path(path).filename().string());
  if (!name) {
    return fail(ErrorKind::refused, fmt::format("{} is no file that PostgreSQL archives", path),
                "archive_command = 'pgsteady wal-push %p'");
  }
  auto file = LocalReader::open(path);
  if (!file) return tl::unexpected(file.error());
  auto system = check(*name, path, *file);
  if (!system) return tl::unexpected(system.error());
  if (*system) {
    if (auto ours = claim_archive(store, **system); !ours) return tl::unexpected(ours.error());
  }
  return push_checked(store, settings, *name, *file);
}

}  // namespace pgsteady::archive
