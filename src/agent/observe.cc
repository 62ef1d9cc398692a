// Finding out: etcd, the local server, the peers.
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "agent/loop.h"
#include "agent/peer.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/client.h"

namespace pgsteady::agent {
namespace asio = boost::asio;
namespace {

using std::chrono::milliseconds;

constexpr auto kReadLimit = milliseconds(1000);
constexpr auto kReadAgain = milliseconds(1000);  // after a read that failed
// A watch tells what changes; a read makes up for one that is stuck.
constexpr auto kQuietInterval = milliseconds(1900);
constexpr auto kMeasureLimit = milliseconds(2000);
constexpr auto kWalLimit = milliseconds(3000);
constexpr auto kTwinLimit = milliseconds(3000);
constexpr auto kPeerLimit = milliseconds(300);
constexpr auto kStartingPause = milliseconds(20);  // between looks at a server that starts up

core::PeerFigure figure_of(const MemberName& name, const Result<http::Response>& answer) {
  core::PeerFigure figure;
  figure.name = name;
  if (!answer) return figure;
  auto status = parse_patroni(answer->body);
  if (!status) return figure;
  figure.answered = true;
  figure.running = status->running();
  figure.starting = status->state == "starting";
  figure.primary = status->is_primary();
  figure.nofailover = status->tags.nofailover() || status->unfit;
  figure.failover_priority = status->tags.failover_priority();
  figure.timeline = status->timeline;
  figure.lsn = status->last_lsn().value_or(Lsn{});
  if (status->race) {
    figure.leaderless_revision = status->race->leaderless_revision;
    figure.timeline = status->race->timeline;
    figure.lsn = status->race->lsn;
  }
  return figure;
}

}  // namespace

awaitable<void> Loop::tick() {
  boost::system::error_code error;
  for (;;) {
    bool quiet =
        seen_.dcs.reachable && lease::Instant(boottime_now()) < *seen_.dcs.read_at + kQuietInterval;
    if (!quiet) read_dcs();
    measure();
    tick_timer_.expires_after(seen_.dcs.cluster.settings().loop_wait);
    co_await tick_timer_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

// An election in etcd costs a read; the next tick may be far.
void Loop::read_again_soon() {
  retry_timer_.expires_after(
      std::min<std::chrono::nanoseconds>(kReadAgain, seen_.dcs.cluster.settings().loop_wait));
  retry_timer_.async_wait([this](boost::system::error_code error) {
    if (!error && !seen_.dcs.reachable) read_dcs();
  });
}

void Loop::read_dcs() {
  if (reading_) {
    read_again_ = true;
    return;
  }
  reading_ = true;
  dcs_->read(kReadLimit, [this](Result<dcs::Snapshot> snapshot) {
    reading_ = false;
    bool first = !std::exchange(seen_.dcs.asked, true);
    if (snapshot) {
      seen_.dcs.reachable = true;
      seen_.dcs.read_at = lease::Instant(snapshot->sent_at);
      seen_.dcs.term = snapshot->term;
      // The same revision is the same content.
      if (snapshot->revision != seen_.dcs.cluster.revision) {
        auto before =
            std::exchange(seen_.dcs.cluster, parse_cluster(snapshot->keys, snapshot->revision));
        keep_config(seen_.dcs.cluster, before);
      }
      dcs_last_seen_ = std::chrono::system_clock::now();
    } else {
      if (seen_.dcs.reachable || first)
        log_warning("cannot read from etcd: {}", snapshot.error().text());
      seen_.dcs.reachable = false;
      read_again_soon();
    }
    wake();
    if (std::exchange(read_again_, false)) read_dcs();
  });
}

void Loop::measure() {
  if (measuring_) {
    measure_again_ = true;
    return;
  }
  measuring_ = true;
  spawn(measure_once());
}

awaitable<void> Loop::measure_once() {
  bool alive = seen_.guard.phase == core::ServerPhase::running ||
               seen_.guard.phase == core::ServerPhase::stopping;
  auto found = co_await server_.measure(alive, kMeasureLimit);
  measuring_ = false;
  // A server that ended while it was measured is measured again.
  bool outdated = alive && seen_.guard.phase == core::ServerPhase::none;
  if (!outdated) {
    seen_.server = std::move(found);
    seen_.interrupted_job = server_.interrupted_job();
    wake();
  }
  if (std::exchange(measure_again_, false) || outdated) {
    measure();
  } else if (alive && seen_.server.state == ServerState::starting && !look_due_) {
    look_due_ = true;
    co_await sleep(kStartingPause);
    look_due_ = false;
    measure();
  }
}

awaitable<void> Loop::probe_commit(lease::Duration limit) {
  seen_.commit_probe = core::CommitProbe{lease::Instant(boottime_now()), false, false};
  auto done = co_await server_.commit(std::chrono::duration_cast<milliseconds>(limit));
  seen_.probing = false;
  seen_.commit_probe->committed = done.value_or(false);
  seen_.commit_probe->refused = !done.has_value();
  measure();
}

awaitable<void> Loop::ask_for_wal(core::AskForWal about) {
  core::WalAnswer answer{lease::Instant(boottime_now()), about.lsn, true};
  auto present = co_await server_.has_wal_after(upstream(about.from), about.lsn, kWalLimit);
  if (present) answer.present = *present;
  if (!present) log_info("cannot ask {} for its WAL: {}", about.from.name, present.error().text());
  seen_.wal_asked = false;
  seen_.wal_answer = answer;  // without an answer nothing is proven
  measure();
}

awaitable<void> Loop::ask_twin(HostPort address) {
  auto answer = co_await http::get(address, "/patroni", kTwinLimit);
  auto other = answer ? parse_patroni(answer->body) : tl::unexpected(answer.error());
  seen_.name_taken = other && other->name == config_.name && other->scope == config_.scope &&
                     other->instance != instance_;
  wake();
}

awaitable<void> Loop::ask_peers(std::vector<MemberName> members) {
  auto round = std::make_shared<core::PeerRound>();
  round->asked_at = lease::Instant(boottime_now());
  auto left = std::make_shared<std::size_t>(0);
  for (const auto& name : members) {
    const auto* member = seen_.dcs.cluster.member(name);
    auto address = member ? host_port_of_url(member->api_url) : HostPort{};
    if (!address || address->host.empty()) continue;
    ++*left;
    spawn(ask_peer(name, *address, round, left));
  }
  while (*left > 0) co_await sleep(milliseconds(2));
  seen_.peers = *round;
  seen_.peers_asked = false;
  wake();
}

awaitable<void> Loop::ask_peer(MemberName name, HostPort address,
                               std::shared_ptr<core::PeerRound> round,
                               std::shared_ptr<std::size_t> left) {
  auto answer = co_await http::get(address, "/patroni", kPeerLimit);
  round->peers.push_back(figure_of(name, answer));
  --*left;
}

}  // namespace pgsteady::agent
