#include "guard/wire.h"

#include <cstring>
#include <optional>

namespace pgsteady::guard {
namespace {

using AskedFor = lease::Request::Kind;

struct KindPair {
  Kind wire;
  AskedFor asked;
};
constexpr KindPair kRequests[] = {
    {Kind::hello, AskedFor::hello},
    {Kind::alive, AskedFor::alive},
    {Kind::arm, AskedFor::arm},
    {Kind::disarm, AskedFor::disarm},
    {Kind::start_server, AskedFor::start_server},
    {Kind::stop_server, AskedFor::stop_server},
    {Kind::fence, AskedFor::fence},
    {Kind::signal_server, AskedFor::signal_server},
    {Kind::run_job, AskedFor::run_job},
    {Kind::kill_job, AskedFor::kill_job},
    {Kind::finished, AskedFor::finished},
    {Kind::suspend, AskedFor::suspend},
    {Kind::resume, AskedFor::resume},
};

std::optional<AskedFor> request_of(Kind wire) {
  for (auto pair : kRequests) {
    if (pair.wire == wire) return pair.asked;
  }
  return std::nullopt;
}

Kind wire_of(AskedFor asked) {
  for (auto pair : kRequests) {
    if (pair.asked == asked) return pair.wire;
  }
  return Kind::hello;
}

Kind wire_of(lease::Notice::Kind kind) {
  switch (kind) {
    case lease::Notice::Kind::status:
      return Kind::status;
    case lease::Notice::Kind::armed:
      return Kind::armed;
    case lease::Notice::Kind::refused:
      return Kind::refused;
    case lease::Notice::Kind::server_started:
      return Kind::server_started;
    case lease::Notice::Kind::server_exited:
      return Kind::server_exited;
    case lease::Notice::Kind::job_exited:
      return Kind::job_exited;
    case lease::Notice::Kind::stop:
      return Kind::stop;
    case lease::Notice::Kind::reload:
      return Kind::reload;
  }
  return Kind::status;
}

// The enumerators stand in the same order on both sides.
static_assert(static_cast<int>(ServerPhase::killing) ==
              static_cast<int>(lease::ServerPhase::killing));
static_assert(static_cast<int>(StopMode::immediate) ==
              static_cast<int>(lease::StopMode::immediate));

bool split(const char* text, std::size_t bytes, std::vector<std::string>& out) {
  if (bytes > 0 && text[bytes - 1] != 0) return false;
  for (std::size_t at = 0; at < bytes; at += out.back().size() + 1) out.emplace_back(text + at);
  return true;
}

// [output file] argv... "" environment...
std::string take_command(std::vector<std::string> texts, bool with_output, Packet& out) {
  std::size_t at = 0;
  if (with_output && at < texts.size()) out.output_path = std::move(texts[at++]);
  while (at < texts.size() && !texts[at].empty()) out.argv.push_back(std::move(texts[at++]));
  for (++at; at < texts.size(); ++at) out.environment.push_back(std::move(texts[at]));
  if (out.argv.empty() || out.argv.front().front() != '/')
    return "the program's path is not absolute";
  return {};
}

lease::Instant instant(std::int64_t ns) {
  return lease::Instant(lease::Duration(ns));
}

}  // namespace

std::string parse_packet(const char* data, std::size_t bytes, Packet& out) {
  Header header;
  if (bytes < sizeof header) return "too short";
  std::memcpy(&header, data, sizeof header);
  if (header.version != kVersion) return "of version " + std::to_string(header.version);
  if (bytes != sizeof header + header.text_bytes) return "its size is wrong";
  auto kind = request_of(header.kind);
  if (!kind) return "of unknown kind " + std::to_string(static_cast<unsigned>(header.kind));
  if (static_cast<unsigned>(header.stop_mode) > static_cast<unsigned>(StopMode::immediate)) {
    return "its stop mode is unknown";
  }
  auto& request = out.request;
  request.kind = *kind;
  request.epoch = {header.lease, header.mod_revision};
  request.deadline = instant(header.deadline_ns);
  request.ttl = lease::Duration(header.ttl_ns);
  request.limit = lease::Duration(header.limit_ns);
  request.mode = static_cast<lease::StopMode>(header.stop_mode);
  request.as_primary = header.as_primary != 0;
  request.signal = header.signal;
  request.job = header.job;
  request.code = header.code;
  std::vector<std::string> texts;
  if (!split(data + sizeof header, header.text_bytes, texts)) return "its text has no end";
  if (*kind == AskedFor::start_server) return take_command(std::move(texts), false, out);
  if (*kind == AskedFor::run_job) return take_command(std::move(texts), true, out);
  return {};
}

std::string make_packet(const lease::Notice& notice, lease::Instant now) {
  Header header;
  header.kind = wire_of(notice.kind);
  header.phase = static_cast<ServerPhase>(notice.phase);
  header.pid = notice.pid;
  header.as_primary = notice.as_primary ? 1 : 0;
  header.lease = notice.epoch.lease;
  header.mod_revision = notice.epoch.mod_revision;
  header.deadline_ns = notice.deadline.time_since_epoch().count();
  header.ttl_ns = notice.ttl.count();
  header.code = notice.code;
  header.job = notice.job;
  header.fenced = notice.fenced ? 1 : 0;
  header.suspended = notice.suspended ? 1 : 0;
  header.watchdog_failed = notice.watchdog_failed ? 1 : 0;
  std::string text;
  if (notice.kind == lease::Notice::Kind::refused) {
    header.code = static_cast<std::int32_t>(wire_of(notice.refused));
    text = notice.text;
    text.push_back(0);
  }
  if (notice.kind == lease::Notice::Kind::stop) {
    header.deadline_ns = notice.limit.time_since_epoch().count();
    header.limit_ns = (notice.limit - now).count();
  }
  header.text_bytes = static_cast<std::uint32_t>(text.size());
  std::string packet(reinterpret_cast<const char*>(&header), sizeof header);
  return packet + text;
}

}  // namespace pgsteady::guard
