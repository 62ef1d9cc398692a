#include "postgres/control_file.h"

#include <fmt/format.h>

namespace pgsteady::pg {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// Calls `each` with every line.
template <typename Each>
void for_lines(std::string_view text, Each each) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    each(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
}

std::map<std::string, std::string> fields_of(std::string_view output) {
  std::map<std::string, std::string> fields;
  for_lines(output, [&](std::string_view line) {
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return;
    fields.emplace(trimmed(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
  });
  return fields;
}

tl::unexpected<Error> wrong(const std::string& name, const std::string& found) {
  return fail(ErrorKind::corrupt,
              found.empty() ? fmt::format("pg_controldata does not tell \"{}\"", name)
                            : fmt::format("pg_controldata tells \"{}\" as \"{}\"", name, found));
}

class Fields {
 public:
  explicit Fields(const std::string& output) : fields_(fields_of(output)) {}
  std::string text(const std::string& name) const {
    auto found = fields_.find(name);
    return found == fields_.end() ? std::string() : found->second;
  }
  Result<Lsn> lsn(const std::string& name) const {
    auto value = Lsn::parse(text(name));
    if (!value) return wrong(name, text(name));
    return *value;
  }
  Result<std::uint64_t> number(const std::string& name) const {
    auto value = parse_decimal(text(name));
    if (!value) return wrong(name, text(name));
    return *value;
  }

 private:
  std::map<std::string, std::string> fields_;
};

constexpr char kSystemId[] = "Database system identifier";
constexpr char kState[] = "Database cluster state";
constexpr char kTimeline[] = "Latest checkpoint's TimeLineID";
constexpr char kCheckpoint[] = "Latest checkpoint location";
constexpr char kMinRecovery[] = "Minimum recovery ending location";
constexpr char kMinRecoveryTimeline[] = "Min recovery ending loc's timeline";
constexpr char kBackupStart[] = "Backup start location";
constexpr char kHints[] = "wal_log_hints setting";
constexpr char kChecksums[] = "Data page checksum version";

}  // namespace

Result<ControlFile> parse_control_data(const std::string& output) {
  if (output.find("WARNING: Calculated CRC checksum does not match") != std::string::npos) {
    return fail(ErrorKind::corrupt, "pg_control has a wrong checksum",
                "restore the node from another member or a backup");
  }
  const Fields fields(output);
  const auto system = fields.number(kSystemId);
  const auto timeline = fields.number(kTimeline);
  const auto checkpoint = fields.lsn(kCheckpoint);
  const auto recovery = fields.lsn(kMinRecovery);
  const auto recovery_timeline = fields.number(kMinRecoveryTimeline);
  const auto backup = fields.lsn(kBackupStart);
  if (!system) return tl::unexpected(system.error());
  if (!timeline) return tl::unexpected(timeline.error());
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  if (!recovery) return tl::unexpected(recovery.error());
  if (!recovery_timeline) return tl::unexpected(recovery_timeline.error());
  if (!backup) return tl::unexpected(backup.error());
  if (fields.text(kState).empty()) return wrong(kState, "");
  if (*timeline > UINT32_MAX) return wrong(kTimeline, fields.text(kTimeline));
  if (*recovery_timeline > UINT32_MAX) {
    return wrong(kMinRecoveryTimeline, fields.text(kMinRecoveryTimeline));
  }
  const auto checksums = fields.text(kChecksums);
  return ControlFile{SystemId{*system},
                     fields.text(kState),
                     static_cast<Timeline>(*timeline),
                     *checkpoint,
                     *recovery,
                     !checksums.empty() && checksums != "0",
                     fields.text(kHints) == "on",
                     static_cast<Timeline>(*recovery_timeline),
                     backup->value != 0};
}

std::map<std::string, long> settings_in_control_data(const std::string& output) {
  constexpr std::string_view kSuffix = " setting";
  std::map<std::string, long> result;
  for (const auto& [name, value] : fields_of(output)) {
    if (!name.ends_with(kSuffix)) continue;
    const auto number = parse_decimal(value);
    if (!number || *number > INT32_MAX) continue;
    result[name.substr(0, name.size() - kSuffix.size())] = static_cast<long>(*number);
  }
  return result;
}

namespace {

// The next field of a history line: up to a blank or tab.
std::string_view next_field(std::string_view& line) {
  line = trimmed(line);
  const auto end = line.find_first_of(" \t");
  const auto field = line.substr(0, end);
  line = end == std::string_view::npos ? std::string_view() : line.substr(end);
  return field;
}

}  // namespace

Result<std::vector<TimelineSwitch>> parse_history(std::string_view text) {
  std::vector<TimelineSwitch> result;
  std::string problem;
  for_lines(text, [&](std::string_view line) {
    const std::string whole(trimmed(line));
    if (whole.empty() || whole.front() == '#' || !problem.empty()) return;
    const auto timeline = parse_decimal(next_field(line));
    const auto end = Lsn::parse(next_field(line));
    const bool rising = timeline && *timeline > (result.empty() ? 0 : result.back().timeline);
    if (!rising || !end || *timeline > UINT32_MAX) {
      problem = whole;
      return;
    }
    result.push_back({static_cast<Timeline>(*timeline), *end, std::string(trimmed(line)), "", ""});
  });
  if (!problem.empty()) {
    return fail(ErrorKind::corrupt, fmt::format("not a line of a history file: \"{}\"", problem));
  }
  return result;
}

std::string history_file_name(Timeline timeline) {
  return fmt::format("{:08X}.history", timeline);
}

}  // namespace pgsteady::pg
