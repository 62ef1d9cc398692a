#include "store/object_store.h"

#include <fmt/format.h>

namespace pgsteady::store {

Result<Stored> put_text(ObjectStore& store, const std::string& key, std::string_view text,
                        Put how) {
  auto writer = store.create(key, how);
  if (!writer) return tl::unexpected(writer.error());
  if (auto written = (*writer)->write(text); !written) return tl::unexpected(written.error());
  return (*writer)->finish();
}

Result<std::string> get_text(ObjectStore& store, const std::string& key, std::size_t limit_bytes) {
  auto reader = store.open(key);
  if (!reader) return tl::unexpected(reader.error());
  std::string text;
  char buffer[16384];
  for (;;) {
    auto count = (*reader)->read(buffer);
    if (!count) return tl::unexpected(count.error());
    if (*count == 0) return text;
    text.append(buffer, *count);
    if (text.size() > limit_bytes) {
      return fail(ErrorKind::refused,
                  fmt::format("{} in {} is larger than {} bytes", key, store.name(), limit_bytes));
    }
  }
}

}  // namespace pgsteady::store
