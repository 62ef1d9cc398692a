#include "archive/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace pgsteady::archive {
namespace {

constexpr std::size_t kNameBytes = 100;
constexpr std::uint64_t kLongNameLimitBytes = 1 << 20;

// The fields of a ustar header: offset and length.
struct Field {
  std::size_t at, length;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12},
    kTime{136, 12}, kSum{148, 8}, kTarget{157, 100}, kMagic{257, 8}, kPrefix{345, 155};
constexpr std::size_t kType = 156;

std::uint64_t octal(std::string_view block, Field field) {
  const auto text = block.substr(field.at, field.length);
  if (static_cast<unsigned char>(text[0]) & 0x80) {  // GNU's binary form, for large files
    std::uint64_t value = static_cast<unsigned char>(text[0]) & 0x7F;
    for (unsigned char c : text.substr(1)) value = (value << 8) | c;
    return value;
  }
  std::uint64_t value = 0;
  for (char c : text) {
    if (c >= '0' && c <= '7') value = value * 8 + static_cast<std::uint64_t>(c - '0');
    if (c == '\0' && value > 0) break;
  }
  return value;
}

std::string text_of(std::string_view block, Field field) {
  const auto text = block.substr(field.at, field.length);
  return std::string(text.substr(0, text.find('\0')));
}

unsigned checksum(std::string_view block) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < kTarBlockBytes; ++i) {
    const bool in_sum = i >= kSum.at && i < kSum.at + kSum.length;
    sum += in_sum ? ' ' : static_cast<unsigned char>(block[i]);
  }
  return sum;
}

void put(std::string& block, Field field, const std::string& text) {
  block.replace(field.at, std::min(text.size(), field.length), text.substr(0, field.length));
}

std::string block_of(const TarMember& member, const std::string& name, char type) {
  std::string block(kTarBlockBytes, '\0');
  put(block, kName, name);
  put(block, kMode, fmt::format("{:07o}", member.mode));
  put(block, kUid, "0000000");
  put(block, kGid, "0000000");
  put(block, kSize, fmt::format("{:011o}", member.size_bytes));
  put(block, kTime, fmt::format("{:011o}", std::max<std::int64_t>(member.modified, 0)));
  block[kType] = type;
  put(block, kTarget, member.target);
  put(block, kMagic, std::string("ustar\00000", 8));
  put(block, kSum, fmt::format("{:06o}", checksum(block)) + std::string("\0 ", 2));
  return block;
}

// GNU's way for names that do not fit.
std::string long_name(const std::string& name) {
  TarMember note;
  note.size_bytes = name.size() + 1;
  return block_of(note, "././@LongLink", 'L') + name + std::string(1, '\0') +
         std::string(tar_padding(note.size_bytes), '\0');
}

// "30 path=some/name\n", one after the other.
void parse_pax(std::string_view text, std::map<std::string, std::string>& into) {
  while (!text.empty()) {
    std::size_t length = 0, digits = 0;
    while (digits < text.size() && digits < 9 && text[digits] >= '0' && text[digits] <= '9') {
      length = length * 10 + static_cast<std::size_t>(text[digits++] - '0');
    }
    if (length <= digits + 1 || length > text.size()) return;
    const auto record = text.substr(digits + 1, length - digits - 2);
    const auto equals = record.find('=');
    if (equals != std::string_view::npos) {
      into[std::string(record.substr(0, equals))] = std::string(record.substr(equals + 1));
    }
    text.remove_prefix(length);
  }
}

TarMember::Kind kind_of(char type) {
  if (type == '0' || type == '\0' || type == '7') return TarMember::Kind::file;
  if (type == '5') return TarMember::Kind::directory;
  if (type == '1' || type == '2') return TarMember::Kind::link;
  return TarMember::Kind::other;
}

bool is_note(char type) {
  return type == 'L' || type == 'K' || type == 'x' || type == 'g';
}

}  // namespace

std::string tar_header(const TarMember& member) {
  const bool directory = member.kind == TarMember::Kind::directory;
  const bool link = member.kind == TarMember::Kind::link;
  const auto name = directory ? member.name + "/" : member.name;
  const auto block = block_of(member, name, directory ? '5' : link ? '2' : '0');
  return name.size() > kNameBytes ? long_name(name) + block : block;
}

std::string tar_end() {
  return std::string(2 * kTarBlockBytes, '\0');
}

Result<std::string> safe_member_name(std::string_view name) {
  std::string safe;
  while (!name.empty()) {
    const auto part = name.substr(0, name.find('/'));
    name.remove_prefix(std::min(name.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    if (part == "..") return fail(ErrorKind::corrupt, "a tar member leads out of the directory");
    safe += (safe.empty() ? "" : "/") + std::string(part);
  }
  return safe;
}

void TarReader::apply_note() {
  if (note_type_ == 'x') parse_pax(note_, pax_);
  while (!note_.empty() && note_.back() == '\0') note_.pop_back();
  if (note_type_ == 'L') long_name_ = note_;
  if (note_type_ == 'K') long_target_ = note_;
  note_.clear();
}

Result<void> TarReader::take_header(std::string_view block) {
  if (block.find_first_not_of('\0') == std::string_view::npos) {
    ++zero_blocks_;
    return {};
  }
  if (checksum(block) != octal(block, kSum)) {
    return fail(ErrorKind::corrupt, "a tar header has a wrong checksum");
  }
  return begin_content(block[kType], block);
}

Result<void> TarReader::begin_content(char type, std::string_view block) {
  left_ = octal(block, kSize);
  if (is_note(type)) {
    note_type_ = type;
    expect_ = Expect::note;
    padding_ = tar_padding(left_);
    if (left_ > kLongNameLimitBytes) return fail(ErrorKind::corrupt, "a tar name has over 1 MiB");
    return left_ == 0 ? end_content() : Result<void>();
  }
  const auto prefix = text_of(block, kMagic).starts_with("ustar") ? text_of(block, kPrefix) : "";
  auto name = prefix.empty() ? text_of(block, kName) : prefix + "/" + text_of(block, kName);
  if (!long_name_.empty()) name = long_name_;
  if (pax_.contains("path")) name = pax_["path"];
  if (pax_.contains("size")) left_ = std::strtoull(pax_["size"].c_str(), nullptr, 10);
  auto target = long_target_.empty() ? text_of(block, kTarget) : long_target_;
  if (pax_.contains("linkpath")) target = pax_["linkpath"];
  auto safe = safe_member_name(name);
  if (!safe) return tl::unexpected(safe.error());
  member_ = {*safe,
             kind_of(type),
             left_,
             static_cast<std::uint32_t>(octal(block, kMode)),
             static_cast<std::int64_t>(octal(block, kTime)),
             target};
  if (member_.kind != TarMember::Kind::file) member_.size_bytes = 0;
  long_name_.clear();
  long_target_.clear();
  pax_.clear();
  padding_ = tar_padding(left_);
  expect_ = Expect::content;
  if (auto begun = sink_.begin(member_); !begun) return begun;
  return left_ == 0 ? end_content() : Result<void>();
}

Result<void> TarReader::take_content(std::string_view bytes) {
  if (expect_ == Expect::note) note_ += bytes;
  if (expect_ == Expect::content && member_.kind == TarMember::Kind::file) {
    if (auto taken = sink_.data(bytes); !taken) return taken;
  }
  left_ -= bytes.size();
  return left_ == 0 ? end_content() : Result<void>();
}

Result<void> TarReader::end_content() {
  const auto was = expect_;
  left_ = was == Expect::padding ? 0 : padding_;
  expect_ = left_ == 0 ? Expect::header : Expect::padding;
  if (was == Expect::note) apply_note();
  return was == Expect::content ? sink_.end() : Result<void>();
}

Result<void> TarReader::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (expect_ != Expect::header) {
      const auto piece =
          bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
      bytes.remove_prefix(piece.size());
      if (auto taken = take_content(piece); !taken) return taken;
      continue;
    }
    const auto piece = bytes.substr(0, kTarBlockBytes - block_.size());
    block_ += piece;
    bytes.remove_prefix(piece.size());
    if (block_.size() < kTarBlockBytes) return {};
    const auto block = std::exchange(block_, {});
    if (auto taken = take_header(block); !taken) return taken;
  }
  return {};
}

// Some writers leave the two zero blocks at the end out.
Result<void> TarReader::finish() const {
  if (expect_ == Expect::header && block_.empty()) return {};
  return fail(ErrorKind::corrupt, "the tar archive is cut short");
}

}  // namespace pgsteady::archive
