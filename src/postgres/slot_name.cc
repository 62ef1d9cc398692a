#include <fmt/format.h>

#include "postgres/server.h"

namespace pgsteady::pg {
namespace {

constexpr std::size_t kNameLimitBytes = 63;  // NAMEDATALEN - 1

// The code point that starts at `at`, and moves behind it. A stray byte stands for itself.
std::uint32_t next_code_point(const std::string& text, std::size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
  if (more == 0 || at + static_cast<std::size_t>(more) > text.size()) return lead;
  std::uint32_t code = lead & (0x3fu >> more);
  for (int i = 0; i < more; ++i) code = code << 6 | (static_cast<unsigned char>(text[at++]) & 0x3f);
  return code;
}

}  // namespace

std::string slot_name(const MemberName& member) {
  std::string result;
  for (std::size_t at = 0; at < member.size();) {
    const std::uint32_t code = next_code_point(member, at);
    const bool plain = (code >= 'a' && code <= 'z') || (code >= '0' && code <= '9') || code == '_';
    if (plain) {
      result += static_cast<char>(code);
    } else if (code >= 'A' && code <= 'Z') {
      result += static_cast<char>(code - 'A' + 'a');
    } else if (code == '-' || code == '.') {
      result += '_';
    } else {
      result += fmt::format("u{:04}", code);
    }
  }
  return result.substr(0, kNameLimitBytes);
}

}  // namespace pgsteady::pg
