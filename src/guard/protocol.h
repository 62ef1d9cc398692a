// What the agent and the guardian say to each other, over a SOCK_SEQPACKET pair that the guardian
// hands to each agent it starts (descriptor number in PGSTEADY_GUARD_FD). One packet, one message;
// both sides are of the same build, so the structs travel as they are.
//
// A packet is a Header, followed by `text_bytes` bytes of NUL-terminated strings where the kind
// says so. A packet of another version, an unknown kind or a wrong size is refused and named in the
// log.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pgsteady::guard {

constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kPacketLimitBytes = std::size_t{64} * 1024;
constexpr char kFdVariable[] = "PGSTEADY_GUARD_FD";

enum class Kind : std::uint32_t {
  // agent → guardian
  hello = 1,      // first message; answered by `status`
  alive,          // sign of life, at least once a second
  arm,            // lease, mod_revision, deadline_ns, ttl_ns → answered by `armed` or `refused`
  disarm,         // lease, mod_revision: the epoch is over, no server lives → `status` without it
  start_server,   // as_primary, texts: argv, "", environment
  stop_server,    // stop_mode, limit_ns: after it the server is killed
  fence,          // the armed epoch is over; kill the server and all that is left → `status`
  signal_server,  // signal (SIGHUP, SIGUSR1) to the postmaster
  run_job,        // job, limit_ns, texts: output file, argv..., "", environment
  kill_job,       // job
  finished,       // code: the agent ends, nothing is to be restarted; exit with the code
  suspend,        // deadlines are not acted on → `status`
  resume,         // they are again → `status`
  // guardian → agent
  status = 101,    // server, armed epoch and deadline: first answer, and after each change
  armed,           // lease, mod_revision, deadline_ns: in force
  refused,         // the kind refused in `code`; text: why
  server_started,  // pid
  server_exited,   // code: wait status; fenced: the guardian killed it
  job_exited,      // job, code: wait status
  stop,            // SIGTERM or SIGINT reached the guardian: hand over and finish within limit_ns
  reload,          // SIGHUP reached the guardian
};

enum class ServerPhase : std::uint32_t {
  none,      // no server, everything reaped: may be started
  running,   // postmaster alive
  stopping,  // asked to stop
  killing,   // killed; something of it is not reaped yet
};

enum class StopMode : std::uint32_t { smart, fast, immediate };

struct Header {
  std::uint32_t version = kVersion;
  Kind kind{};
  std::int64_t lease = 0;
  std::int64_t mod_revision = 0;
  std::int64_t deadline_ns = 0;  // boottime
  std::int64_t ttl_ns = 0;
  std::int64_t limit_ns = 0;
  std::int64_t job = 0;
  std::int32_t pid = 0;
  std::int32_t code = 0;
  std::int32_t signal = 0;
  ServerPhase phase{};
  StopMode stop_mode{};
  std::uint32_t as_primary = 0;
  std::uint32_t fenced = 0;
  std::uint32_t suspended = 0;
  std::uint32_t watchdog_failed = 0;
  std::uint32_t text_bytes = 0;
};

}  // namespace pgsteady::guard
