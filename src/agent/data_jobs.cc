// The jobs that make a data directory or change what is in it: initdb, a clone, a rewind. What they
// leave half done a marker tells; see set_job_marker in postgres/server.h.
#include <sys/wait.h>
#include <boost/asio/this_coro.hpp>
#include <csignal>
#include <fstream>

#include "agent/loop.h"
#include "base/clock.h"
#include "base/log.h"

namespace pgsteady::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kLookAgain = milliseconds(10);
constexpr auto kRewindLimit = seconds(3600);
constexpr auto kCloneLimit = std::chrono::hours(24);
constexpr auto kCheckpointOfLeader = seconds(30);
constexpr auto kProgress = seconds(5);
constexpr auto kSourceLimit = seconds(3);

std::string describe_status(int status) {
  if (WIFEXITED(status)) return fmt::format("exit code {}", WEXITSTATUS(status));
  return fmt::format("signal {}", WTERMSIG(status));
}

// The last lines of a program's output; \r starts a line anew, as progress displays do.
std::vector<std::string> last_lines(const std::string& path, std::size_t count) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  auto size = file ? static_cast<std::streamoff>(file.tellg()) : std::streamoff(0);
  file.seekg(std::max<std::streamoff>(0, size - 4096));
  std::vector<std::string> lines(1);
  for (char c; file.get(c);) {
    if (c != '\n' && c != '\r') {
      lines.back() += c;
    } else if (!lines.back().empty()) {
      lines.emplace_back();
    }
  }
  if (lines.back().empty()) lines.pop_back();
  if (lines.size() > count) lines.erase(lines.begin(), lines.end() - static_cast<long>(count));
  return lines;
}

bool file_contains(const std::string& path, const std::string& words) {
  std::ifstream file(path, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(file), {});
  return text.find(words) != std::string::npos;
}

}  // namespace

awaitable<Result<std::string>> Loop::run_program(std::string what, pg::Command command,
                                                 seconds limit) {
  auto id = program_ = next_program_++;
  program_end_.reset();
  auto output = config_.server.state_dir + "/" + what + ".log";
  program_refused_ = false;
  auto sent = guard_->run_job(id, {command.argv, command.environment}, output, limit);
  if (!sent) co_return tl::unexpected(sent.error());
  auto said_at = boottime_now();
  std::string said;
  while (!program_end_) {
    try {
      co_await sleep(kLookAgain);
    } catch (const std::exception&) {
      (void)guard_->kill_job(id);
      throw;
    }
    if (program_refused_) co_return fail(ErrorKind::retry, "the guardian did not run " + what);
    if (boottime_now() - said_at < kProgress) continue;
    said_at = boottime_now();
    auto lines = last_lines(output, 1);
    if (!lines.empty() && lines.front() != said) log_info("{}: {}", what, said = lines.front());
  }
  auto status = *program_end_;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) co_return output;
  std::string message = fmt::format("{} ended with {}", what, describe_status(status));
  for (const auto& line : last_lines(output, 5)) message += "\n  " + line;
  co_return fail(ErrorKind::retry, message, "see " + output);
}

awaitable<Result<std::string>> Loop::initdb() {
  if (auto forgotten = server_.forget_cluster(); !forgotten) {
    co_return tl::unexpected(forgotten.error());
  }
  auto marked = server_.set_job_marker("initdb");
  if (!marked) co_return tl::unexpected(marked.error());
  if (server_.look_at_data_directory() != DataDirectory::empty) {
    auto control = server_.read_control_file();
    if (control && control->timeline > 1) {
      co_return fail(ErrorKind::refused,
                     "the data directory holds a cluster that has been promoted",
                     "if it is whole, remove " + config_.server.state_dir + "/job");
    }
    auto cleared = co_await server_.clear_data_directory("an unfinished initdb", true);
    if (!cleared) co_return tl::unexpected(cleared.error());
  }
  co_return co_await run_program("initdb", server_.initdb_command(), seconds(300));
}

// What a clone replaces may be the newest that is left, so it is given up only for a server that
// answers, and that is of this cluster.
awaitable<Result<void>> Loop::check_source(core::UpstreamMember from) {
  auto written = server_.write_pgpass({from.address});
  if (!written) co_return written;
  auto system = co_await server_.system_id_of(upstream(from), kSourceLimit);
  if (!system) {
    co_return fail(system.error().kind,
                   fmt::format("{} cannot be cloned from: {}", from.name, system.error().message),
                   system.error().hint);
  }
  auto ours = seen_.dcs.cluster.system_id();
  if (!ours || *ours == *system) co_return Result<void>();
  co_return fail(
      ErrorKind::refused,
      fmt::format("the server of {} at {}:{} is of another cluster ({}, not {})", from.name,
                  from.address.host, from.address.port, system->text(), ours->text()),
      "look at postgresql.connect_address of " + from.name);
}

awaitable<Result<std::string>> Loop::clone(core::Clone how) {
  const auto& from = how.from;
  job_harmless_ = true;  // until the directory is marked
  auto source = co_await check_source(from);
  if (!source) co_return tl::unexpected(source.error());
  if (!how.why.empty()) {
    auto sound = co_await server_.check_configuration();
    if (!sound) co_return tl::unexpected(sound.error());
    auto noted = server_.note_reclone(std::chrono::system_clock::now());
    if (!noted) co_return tl::unexpected(noted.error());
    seen_.reclones = server_.reclones();
  }
  const bool unfinished = server_.interrupted_job() == "clone";
  // What was there before keeps its WAL, also when this ends in the midst.
  auto marked = server_.set_job_marker(unfinished ? "clone" : "clearing");
  if (!marked) co_return tl::unexpected(marked.error());
  job_harmless_ = false;
  if (server_.look_at_data_directory() != DataDirectory::empty) {
    auto cleared = co_await server_.clear_data_directory("cloning from " + from.name, unfinished);
    if (!cleared) co_return tl::unexpected(cleared.error());
  }
  marked = server_.set_job_marker("clone");
  if (!marked) co_return tl::unexpected(marked.error());
  auto done = co_await run_program("pg_basebackup", server_.basebackup_command(upstream(from)),
                                   kCloneLimit);
  if (!done) co_return done;
  auto whole = server_.clear_job_marker();
  if (!whole) co_return tl::unexpected(whole.error());
  co_return from.name;
}

// pg_rewind reads the leader's control file, which tells the new timeline after a checkpoint only.
awaitable<Result<void>> Loop::await_checkpoint(core::UpstreamMember from) {
  const auto* leader = seen_.dcs.cluster.member(from.name);
  Timeline wanted = leader ? leader->timeline : 0;
  auto give_up_at = boottime_now() + kCheckpointOfLeader;
  for (;;) {
    auto timeline = co_await server_.control_timeline_of(upstream(from), seconds(3));
    if (timeline && *timeline >= wanted) co_return Result<void>();
    if (boottime_now() > give_up_at) {
      co_return fail(ErrorKind::retry, timeline
                                           ? "the leader has made no checkpoint since its promotion"
                                           : timeline.error().text());
    }
    co_await sleep(milliseconds(200));
  }
}

awaitable<Result<std::string>> Loop::rewind(core::Rewind about) {
  const auto& from = about.from;
  job_harmless_ = true;  // until pg_rewind runs
  auto written = server_.write_pgpass({from.address});
  if (!written) co_return tl::unexpected(written.error());
  seen_.job_waits = true;
  auto ready = co_await await_checkpoint(from);
  seen_.job_waits = false;
  if (!ready) co_return tl::unexpected(ready.error());
  auto kept = co_await server_.keep_diverged_wal("the rewind from " + from.name, about.parted_at);
  if (!kept) co_return tl::unexpected(kept.error());
  auto marked = server_.set_job_marker("rewind");
  if (!marked) co_return tl::unexpected(marked.error());
  job_harmless_ = false;
  Result<std::string> done = fail(ErrorKind::retry, "cancelled");
  std::exception_ptr cancelled;
  try {
    auto command = server_.rewind_command(upstream(from));
    done = co_await run_program("pg_rewind", std::move(command), kRewindLimit);
  } catch (const std::exception&) {
    cancelled = std::current_exception();
  }
  // It says so before it writes its first byte; up to then the directory is whole. One that is told
  // to end may still get there.
  auto output = config_.server.state_dir + "/pg_rewind.log";
  if (done || (!cancelled && !file_contains(output, "need to copy"))) {
    auto whole = server_.clear_job_marker();
    if (!whole) co_return tl::unexpected(whole.error());
  }
  if (cancelled) std::rethrow_exception(cancelled);
  if (!done) co_return done;
  for (const auto& line : last_lines(output, 1)) log_info("pg_rewind: {}", line);
  co_return from.name;
}

}  // namespace pgsteady::agent
