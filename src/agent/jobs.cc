// The jobs that change the server. One runs at a time; each is a coroutine that checks what it
// waits for and ends by itself. A cancelled job ends at its next wait.
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>

#include "agent/loop.h"
#include "base/clock.h"
#include "base/log.h"

namespace pgsteady::agent {
namespace asio = boost::asio;
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kLookAgain = milliseconds(10);
constexpr auto kPromoteAgain = milliseconds(100);
constexpr auto kReloadAgain = milliseconds(2000);

tl::unexpected<Error> failed(std::string message) {
  return fail(ErrorKind::retry, std::move(message));
}

}  // namespace

bool Loop::start_job(core::JobKind kind, awaitable<Result<std::string>> job) {
  if (seen_.job) return false;
  seen_.job = kind;
  job_harmless_ = false;
  asio::co_spawn(io_, run_job(kind, std::move(job)),
                 asio::bind_cancellation_slot(cancel_job_.slot(), asio::detached));
  return true;
}

awaitable<void> Loop::run_job(core::JobKind kind, awaitable<Result<std::string>> job) {
  Result<std::string> result = failed("cancelled");
  try {
    result = co_await std::move(job);
  } catch (const std::exception& e) {
    result = failed(e.what());
  }
  seen_.job.reset();
  seen_.job_waits = false;
  seen_.interrupted_job = server_.interrupted_job();
  auto message = result ? *result : result.error().text();
  seen_.job_ends.push_back({kind, result.has_value(), job_harmless_, std::move(message)});
  if (seen_.guard.phase == core::ServerPhase::none) {  // the files may be others than before
    seen_.server.data = DataDirectory::unknown;
    seen_.server.control.reset();
  }
  measure();
  wake();
}

// A cancelled wait throws, which ends the job.
awaitable<void> Loop::sleep(milliseconds duration) {
  asio::steady_timer timer(io_, duration);
  co_await timer.async_wait(asio::use_awaitable);
}

pg::Upstream Loop::upstream(const core::UpstreamMember& member) const {
  return {member.name, member.address, member.slot && seen_.dcs.cluster.settings().use_slots};
}

// The cluster's part of postgresql.conf, with what the policy says to synchronous replication;
// nullopt while nothing is known of that.
std::optional<boost::json::object> Loop::cluster_parameters() const {
  if (!core::knows_settings(seen_)) return std::nullopt;
  const auto& settings = seen_.dcs.cluster.settings();
  auto postgresql = settings.postgresql;
  if (auto names = core::sync_names_for_file(state_, settings)) {
    auto& parameters = postgresql["parameters"];
    if (!parameters.is_object()) parameters = boost::json::object{};
    parameters.as_object()["synchronous_standby_names"] = *names;
  }
  return postgresql;
}

awaitable<Result<std::string>> Loop::start_server(core::StartServer how) {
  std::optional<pg::Upstream> from;
  if (how.upstream) from = upstream(*how.upstream);
  auto written = server_.write_configuration(cluster_parameters(), !how.as_primary, from);
  if (!written) co_return tl::unexpected(written.error());
  if (how.upstream) {
    auto pgpass = server_.write_pgpass({how.upstream->address});
    if (!pgpass) co_return tl::unexpected(pgpass.error());
  }
  auto command = server_.start_command();
  seen_.server.state = ServerState::starting;
  auto sent = guard_->start_server({command.argv, command.environment}, how.as_primary);
  if (!sent) co_return tl::unexpected(sent.error());
  auto started_by = boottime_now() + seconds(5);
  while (server_gone() && boottime_now() < started_by) co_await sleep(milliseconds(2));
  if (server_gone()) co_return failed("the guardian did not start it");
  co_return "started";
}

awaitable<Result<std::string>> Loop::stop_server(core::StopServer how) {
  auto give_up_at = boottime_now() + how.limit;
  if (how.checkpoint_first) {
    // Done while clients still write, so that the shutdown's own checkpoint has little left to do.
    auto limit = std::chrono::duration_cast<milliseconds>(how.limit) * 2 / 5;
    auto done = co_await server_.checkpoint(limit);
    if (!done) log_warning("no checkpoint before the shutdown: {}", done.error().message);
  }
  auto mode =
      how.mode == core::StopServer::Mode::fast ? guard::StopMode::fast : guard::StopMode::immediate;
  auto left = std::max<std::chrono::nanoseconds>(give_up_at - boottime_now(), milliseconds(200));
  auto sent = guard_->stop_server(mode, left);
  if (!sent) co_return tl::unexpected(sent.error());
  while (!server_gone()) co_await sleep(milliseconds(5));
  co_return "stopped";
}

awaitable<Result<std::string>> Loop::promote(core::Promote how) {
  auto give_up_at = boottime_now() + how.limit;
  auto again_at = boottime_now();
  job_harmless_ = true;  // but for the end of the limit
  while (boottime_now() < give_up_at) {
    if (seen_.guard.phase != core::ServerPhase::running)
      co_return failed("PostgreSQL is not running");
    if (!state_.lock || *state_.lock != how.epoch)
      co_return failed("the lock was lost before promotion");
    if (seen_.server.is_primary()) {
      (void)server_.release_timelines();
      co_return "promoted";
    }
    // A promotion right after the old primary's end may be overheard; it is asked for again.
    if (boottime_now() >= again_at) {
      again_at = boottime_now() + kPromoteAgain;
      auto reserved = server_.reserve_timelines(seen_.server.timeline, how.newest);
      if (!reserved) co_return tl::unexpected(reserved.error());
      auto written = server_.write_promote_file();
      if (!written) co_return tl::unexpected(written.error());
      (void)guard_->signal_server(SIGUSR1);
    }
    measure();
    co_await sleep(kLookAgain);
  }
  job_harmless_ = false;
  co_return failed("PostgreSQL did not end its recovery");
}

awaitable<Result<std::string>> Loop::reconfigure(std::optional<core::UpstreamMember> member) {
  std::optional<pg::Upstream> from;
  if (member) from = upstream(*member);
  if (member) {
    auto written = server_.write_pgpass({member->address});
    if (!written) co_return tl::unexpected(written.error());
  }
  // What a server that still starts up will be, its start says.
  bool running = seen_.server.state == ServerState::running;
  bool standby = running ? seen_.server.in_recovery : !seen_.guard.as_primary;
  // An agent before this one may have been killed between its writing and its signal, and a
  // guardian does nothing more for one that it replaces.
  const bool told = std::exchange(reloaded_, false);
  auto changed = server_.write_configuration(cluster_parameters(), standby, from);
  if (!changed) co_return tl::unexpected(changed.error());
  // One that refuses the file keeps its upstream, and is not to be asked at every turn.
  auto wanted = from ? from->address.text() : "";
  bool elsewhere = running && standby && seen_.server.upstream != wanted;
  bool again = elsewhere && boottime_now() >= reloaded_at_ + kReloadAgain;
  if (*changed || again || !told) {
    // A postmaster that is only milliseconds old would die of the signal.
    if (!running) co_await sleep(milliseconds(500));
    auto sent = guard_->signal_server(SIGHUP);
    if (!sent) co_return tl::unexpected(sent.error());
    reloaded_at_ = boottime_now();
    co_await sleep(milliseconds(20));
  }
  reloaded_ = true;
  co_return "reloaded";
}

awaitable<Result<std::string>> Loop::create_users() {
  auto done = co_await server_.create_users(seconds(10));
  if (!done) co_return tl::unexpected(done.error());
  co_return "created";
}

awaitable<void> Loop::try_lease_again() {
  co_await sleep(milliseconds(1000));
  seen_.lease_request = false;
  wake();
}

// Until it is done no node can rewind against this one.
awaitable<void> Loop::checkpoint() {
  while (seen_.server.is_primary()) {
    auto done = co_await server_.checkpoint(seconds(300));
    if (done) break;
    log_warning("checkpoint after promotion: {}", done.error().message);
    co_await sleep(milliseconds(1000));
  }
  measure();
}

awaitable<void> Loop::sync_slots(core::SyncSlots about) {
  auto done = co_await server_.sync_slots(about.members, seconds(10), about.drop);
  if (done) co_return;
  log_warning("replication slots: {}", done.error().message);
  seen_.slots_failed = true;
  wake();
}

}  // namespace pgsteady::agent
