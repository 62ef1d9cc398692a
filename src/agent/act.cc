// Carrying a decision out: each action hands something to etcd, to the renewal thread, to the
// guardian, or starts a job. None of them waits.
#include <fstream>

#include "agent/loop.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"

namespace pgsteady::agent {
namespace asio = boost::asio;
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kCallLimit = milliseconds(1500);

// False: said and refused; the rest of the decision is void.
bool accepted(const Result<void>& result, const char* what) {
  if (!result) log_error("{}: {}", what, result.error().text());
  return result.has_value();
}

// Jobs whose program ends with the agent; nullptr for others, which the next agent finds done.
const char* name_of_program(std::optional<core::JobKind> job) {
  if (job == core::JobKind::initdb) return "initdb";
  if (job == core::JobKind::clone) return "clone";
  return job == core::JobKind::rewind ? "rewind" : nullptr;
}

bool is_good(const std::string& config_path) {
  auto fresh = config::load(config_path, process_environment());
  if (!fresh) log_error("the configuration is not reloaded: {}", fresh.error().text());
  return fresh.has_value();
}

// The lease that a transaction's operations hang on.
std::int64_t lease_of(const Txn& txn) {
  for (const auto& operation : txn.operations) {
    if (operation.lease != 0) return operation.lease;
  }
  return 0;
}

}  // namespace

void Loop::carry_out(const std::vector<core::Action>& actions) {
  bool refused = false;
  for (const auto& action : actions) {
    if (exit_code_) return;
    // Whoever asked is answered in any case.
    if (refused && !std::holds_alternative<core::Reply>(action)) continue;
    refused = !std::visit([this](const auto& a) { return act(a); }, action) || refused;
  }
}

bool Loop::act(const core::GrantLease& a) {
  seen_.lease_request = true;
  auto ttl = std::chrono::ceil<seconds>(a.ttl);
  dcs_->grant_lease(ttl, kCallLimit, [this](Result<dcs::LeaseGrant> grant) {
    seen_.lease_request = false;
    if (grant) {
      seen_.lease = {lease::Renewal::State::alive, grant->id, grant->ttl, {}, {}};
      renewer_->adopt(grant->id, grant->ttl, lease::Instant(grant->sent_at));
    } else {
      if (seen_.dcs.reachable) log_warning("cannot get a lease: {}", grant.error().text());
      seen_.lease_request = true;  // the next one a second later
      spawn(try_lease_again());
    }
    wake();
  });
  return true;
}

bool Loop::act(const core::AdoptLease& a) {
  seen_.lease = {lease::Renewal::State::alive, a.lease, a.ttl, {}, {}};
  renewer_->adopt(a.lease, a.ttl, a.counted);
  if (state_.lock) asked_epoch_ = *state_.lock;
  armed_revision_ = asked_epoch_.mod_revision;
  return true;
}

bool Loop::act(const core::DropLease& a) {
  if (a.revoke && seen_.lease.lease != 0) {
    seen_.lease_request = true;
    dcs_->revoke_lease(seen_.lease.lease, milliseconds(300), [this](const Result<std::int64_t>&) {
      seen_.lease_request = false;
      wake();
    });
  }
  renewer_->drop();
  seen_.lease = {};
  wake();
  return true;
}

// Written down without waiting for the disk: after a power loss the lock is raced for instead.
bool Loop::act(const core::HoldKey& a) {
  std::ofstream(epoch_file(), std::ios::trunc) << a.epoch.lease << ' ' << a.epoch.mod_revision;
  seen_.remembered = a.epoch;
  renewer_->hold(a.epoch);
  return true;
}

bool Loop::act(const core::LetGo&) {
  armed_revision_ = 0;
  renewer_->let_go();
  return true;
}

bool Loop::act(const core::Transact& a) {
  if (!may_send(a.kind)) return false;
  seen_.transactions.push_back(a.kind);
  auto lease = lease_of(a.txn);
  auto kind = a.kind;
  dcs_->commit(a.txn, kCallLimit, [this, kind, lease](Result<TxnResult> result) {
    std::erase(seen_.transactions, kind);
    core::TxnEnd end{kind, result.has_value(), false, false, 0, lease};
    if (result) {
      end.succeeded = result->succeeded;
      end.revision = result->revision;
    } else {
      end.lease_gone = result.error().kind == ErrorKind::not_found;
      log_warning("a transaction on etcd failed: {}", result.error().text());
    }
    seen_.txn_ends.push_back(end);
    wake();
    read_dcs();
  });
  return true;
}

bool Loop::act(const core::Arm& a) {
  if (asker_epoch_ != a.epoch) ask_for(std::nullopt);  // the epoch before it is over
  asked_epoch_ = a.epoch;
  armed_revision_ = a.epoch.mod_revision;
  return accepted(guard_->arm(a.epoch, a.deadline, a.ttl), "cannot arm the guardian");
}

bool Loop::act(const core::Disarm& a) {
  armed_revision_ = 0;
  return accepted(guard_->disarm(a.epoch), "cannot disarm the guardian");
}

bool Loop::act(const core::Fence& a) {
  log_warning("fencing PostgreSQL: {}", a.why);
  armed_revision_ = 0;
  return accepted(guard_->fence(), "cannot fence");
}

bool Loop::act(const core::SwitchFence& a) {
  log_debug("the fence is switched {}", a.on ? "on" : "off");
  return accepted(a.on ? guard_->resume() : guard_->suspend(), "cannot switch the fence");
}

bool Loop::act(const core::PollLease& a) {
  dcs_->lease_remaining(a.lease, milliseconds(500), [this](Result<dcs::LeaseRemaining> found) {
    if (!found) return;
    seen_.polls.push_back({found->id, found->remaining_seconds, found->granted_seconds, found->term,
                           lease::Instant(found->sent_at), lease::Instant(found->received_at)});
    // Only a lease that runs out needs a decision soon; the next turn sees the others.
    auto ttl = std::chrono::duration_cast<std::chrono::seconds>(seen_.lease.ttl);
    if (found->remaining_seconds + 2 < ttl.count()) wake();
  });
  return true;
}

bool Loop::act(const core::AskPeers& a) {
  seen_.peers_asked = true;
  spawn(ask_peers(a.members));
  return true;
}

bool Loop::act(const core::AskTwin& a) {
  seen_.name_taken.reset();
  auto address = host_port_of_url(a.api_url);
  if (address && !address->host.empty()) {
    spawn(ask_twin(*address));
  } else {
    seen_.name_taken = false;
    wake();
  }
  return true;
}

bool Loop::act(const core::AskForWal& a) {
  seen_.wal_asked = true;
  spawn(ask_for_wal(a));
  return true;
}

bool Loop::act(const core::RunInitdb&) {
  return start_job(core::JobKind::initdb, initdb());
}

bool Loop::act(const core::Clone& a) {
  return start_job(core::JobKind::clone, clone(a));
}

bool Loop::act(const core::Rewind& a) {
  return start_job(core::JobKind::rewind, rewind(a));
}

bool Loop::act(const core::StartServer& a) {
  // Preconditions again, with the clock of now: an armed primary, or a standby.
  if (a.as_primary && (!state_.lock || seen_.guard.armed != *state_.lock)) return false;
  return start_job(core::JobKind::start, start_server(a));
}

bool Loop::act(const core::StopServer& a) {
  return start_job(core::JobKind::stop, stop_server(a));
}

bool Loop::act(const core::Promote& a) {
  if (seen_.guard.armed != a.epoch || seen_.guard.deadline <= lease::Instant(boottime_now())) {
    return false;
  }
  return start_job(core::JobKind::promote, promote(a));
}

bool Loop::act(const core::Reconfigure& a) {
  return start_job(core::JobKind::reconfigure, reconfigure(a.upstream));
}

bool Loop::act(const core::CreateUsers&) {
  return start_job(core::JobKind::create_users, create_users());
}

bool Loop::act(const core::ClearMarker&) {
  bool done = accepted(server_.clear_job_marker(), "cannot clear the job's marker");
  seen_.interrupted_job = server_.interrupted_job();
  return done;
}

bool Loop::act(const core::Checkpoint&) {
  spawn(checkpoint());
  return true;
}

bool Loop::act(const core::SyncSlots& a) {
  spawn(sync_slots(a));
  return true;
}

bool Loop::act(const core::ProbeCommit& a) {
  seen_.probing = true;
  spawn(probe_commit(a.limit));
  return true;
}

bool Loop::act(const core::CancelJob&) {
  cancel_job_.emit(asio::cancellation_type::terminal);
  return true;
}

// An agent that ends without a word to the guardian is started again at once, beside a server that
// does not notice, and reads its configuration.
bool Loop::act(const core::Reload&) {
  if (is_good(config_.path)) spawn(end_soon());
  return true;
}

// Whoever asked gets the answer first.
awaitable<void> Loop::end_soon() {
  co_await sleep(milliseconds(100));
  reload_due_ = true;
  if (reload_waits()) {
    log_info("reload is put off until the {} has ended", name_of_program(seen_.job));
  }
  wake();
}

bool Loop::reload_waits() const {
  return name_of_program(seen_.job) != nullptr;
}

// The file may have changed while the reload waited.
bool Loop::reload_now() {
  reload_due_ = false;
  if (!is_good(config_.path)) return false;
  log_info("reloading the configuration");
  exit_code_ = 0;
  return true;
}

bool Loop::act(const core::Reply& a) {
  requests_.answer(a.id, a.status, a.text);
  return true;
}

bool Loop::act(const core::Finish& a) {
  log_info("{}", a.message);
  (void)guard_->finished(a.exit_code);
  exit_code_ = a.exit_code;
  return true;
}

}  // namespace pgsteady::agent
