#include "archive/object.h"

#include <fmt/format.h>

namespace pgsteady::archive {
namespace {

constexpr std::size_t kObjectReadBytes = 128 << 10;

Result<void> pass_through(store::Reader& reader, Stream& stream, const Sink& sink,
                          const Sink& raw) {
  std::string buffer(kObjectReadBytes, '\0');
  for (;;) {
    auto count = reader.read(buffer);
    if (!count) return tl::unexpected(count.error());
    if (*count == 0) return stream.finish(sink);
    if (raw) {
      if (auto seen = raw({buffer.data(), *count}); !seen) return seen;
    }
    if (auto fed = stream.feed({buffer.data(), *count}, sink); !fed) return fed;
  }
}

}  // namespace

Method method_of_key(const std::string& key) {
  const auto dot = key.rfind('.');
  return dot == std::string::npos ? Method::none : method_of_extension(key.substr(dot));
}

Result<store::ObjectInfo> find_object(store::ObjectStore& store, const std::string& base) {
  auto found = store.find(base, all_extensions());
  if (!found) return tl::unexpected(found.error());
  if (found->empty()) {
    return fail(ErrorKind::not_found, fmt::format("{} is not in {}", base, store.name()));
  }
  return found->front();
}

Result<void> read_object(store::ObjectStore& store, const std::string& key, const Sink& sink,
                         const Sink& raw) {
  auto reader = store.open(key);
  if (!reader) return tl::unexpected(reader.error());
  auto stream = make_decompressor(method_of_key(key));
  if (!stream) return tl::unexpected(stream.error());
  auto read = pass_through(**reader, **stream, sink, raw);
  if (!read && read.error().kind == ErrorKind::corrupt) {
    return fail(ErrorKind::corrupt,
                fmt::format("{} in {} is damaged: {}", key, store.name(), read.error().message),
                read.error().hint);
  }
  return read;
}

}  // namespace pgsteady::archive
