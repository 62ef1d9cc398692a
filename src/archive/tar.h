// Tar as base backups have it: written as ustar, read from ustar, GNU and pax. Pure.
#pragma once

#include <cstdint>
#include <ctime>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pgsteady::archive {

struct TarMember {
  enum class Kind { file, directory, link, other };
  std::string name;  // relative, as it stands in the archive otherwise: "base/1/1259"
  Kind kind = Kind::file;
  std::uint64_t size_bytes = 0;
  std::uint32_t mode = 0600;
  std::int64_t modified = 0;  // seconds since 1970
  std::string target;         // of a link
};

constexpr std::size_t kTarBlockBytes = 512;

// The header blocks of a member; its content follows, then tar_padding(size) zeros.
std::string tar_header(const TarMember& member);
inline std::size_t tar_padding(std::uint64_t size_bytes) {
  return static_cast<std::size_t>((kTarBlockBytes - size_bytes % kTarBlockBytes) % kTarBlockBytes);
}
std::string tar_end();

// Where the members of an archive go.
class TarSink {
 public:
  virtual ~TarSink() = default;
  virtual Result<void> begin(const TarMember& member) = 0;
  virtual Result<void> data(std::string_view bytes) = 0;
  virtual Result<void> end() = 0;
};

// Takes the archive in pieces of any size. Member names come out relative, and never lead out of
// the directory (corrupt).
class TarReader {
 public:
  explicit TarReader(TarSink& sink) : sink_(sink) {}
  Result<void> feed(std::string_view bytes);
  // corrupt when the archive ended in the middle.
  Result<void> finish() const;

 private:
  enum class Expect { header, note, content, padding };
  Result<void> take_header(std::string_view block);
  Result<void> begin_content(char type, std::string_view block);
  Result<void> take_content(std::string_view bytes);
  Result<void> end_content();
  void apply_note();

  TarSink& sink_;
  Expect expect_ = Expect::header;
  std::string block_;       // of a header that has not come whole
  std::uint64_t left_ = 0;  // of content or padding
  std::size_t padding_ = 0;
  TarMember member_;
  char note_type_ = 0;
  std::string note_;  // a long name, or pax records, for the next member
  std::string long_name_, long_target_;
  std::map<std::string, std::string> pax_;
  int zero_blocks_ = 0;
};

// "/base//1/./2" → "base/1/2"; corrupt when it leads upwards.
Result<std::string> safe_member_name(std::string_view name);

}  // namespace pgsteady::archive
