// Carrying a decision out: each action hands something to etcd, to the renewal thread, to the
// guardian, or starts a job. As src/agent/act.cc.
#include <algorithm>

#include "sim/agent.h"
#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kCallLimit = milliseconds(1500);

std::int64_t lease_of(const Txn& txn) {
  for (const auto& operation : txn.operations) {
    if (operation.lease != 0) return operation.lease;
  }
  return 0;
}

const char* name_of(core::TxnKind kind) {
  constexpr const char* kNames[] = {"member",
                                    "acquire",
                                    "readopt",
                                    "release",
                                    "give_up",
                                    "claim_initialize",
                                    "name_cluster",
                                    "finish_initialize",
                                    "cancel_initialize",
                                    "status",
                                    "history",
                                    "ask_failover",
                                    "cancel_failover",
                                    "clear_failover",
                                    "unfenced",
                                    "config",
                                    "remove_stale_leader",
                                    "retake",
                                    "failsafe",
                                    "sync",
                                    "reserve"};
  auto index = static_cast<std::size_t>(kind);
  return index < std::size(kNames) ? kNames[index] : "another";
}

}  // namespace

void Agent::carry_out(std::vector<core::Action>& actions) {
  const auto* change = mutation();
  bool refused = false;
  for (auto& action : actions) {
    if (finished_) return;
    // Whoever asked is answered in any case.
    if (refused && !std::holds_alternative<core::Reply>(action)) continue;
    if (change && change->before_action && !change->before_action(action)) continue;
    world_.mix(action.index());
    refused = !std::visit([this](const auto& a) { return act(a); }, action) || refused;
  }
}

bool Agent::act(const core::GrantLease& a) {
  seen_.lease_request = true;
  EtcdRequest request;
  request.kind = EtcdRequest::Kind::grant;
  request.ttl_seconds = std::chrono::ceil<seconds>(a.ttl).count();
  dcs_.call(request, true, kCallLimit,
            [this](const EtcdClient::Answer& answer) { granted(answer); });
  return true;
}

void Agent::granted(const EtcdClient::Answer& answer) {
  seen_.lease_request = false;
  if (answer.reply.ok) {
    auto ttl = seconds(answer.reply.seconds);
    seen_.lease = {lease::Renewal::State::alive, answer.reply.lease, ttl, {}, {}};
    renewer_.adopt(answer.reply.lease, ttl, answer.sent);
  } else {
    seen_.lease_request = true;
    host_.after(seconds(1), host_.agent_actor(), [this] {
      seen_.lease_request = false;
      wake();
    });
  }
  wake();
}

bool Agent::act(const core::AdoptLease& a) {
  seen_.lease = {lease::Renewal::State::alive, a.lease, a.ttl, {}, {}};
  renewer_.adopt(a.lease, a.ttl, a.counted);
  if (state_.lock) asked_epoch_ = *state_.lock;
  armed_revision_ = asked_epoch_.mod_revision;
  world_.reached("an agent took over from the guardian");
  return true;
}

bool Agent::act(const core::DropLease& a) {
  if (a.revoke && seen_.lease.lease != 0) {
    seen_.lease_request = true;
    EtcdRequest request;
    request.kind = EtcdRequest::Kind::revoke;
    request.lease = seen_.lease.lease;
    dcs_.call(request, true, milliseconds(300), [this](const EtcdClient::Answer&) {
      seen_.lease_request = false;
      wake();
    });
  }
  renewer_.drop();
  seen_.lease = {};
  wake();
  return true;
}

bool Agent::act(const core::HoldKey& a) {
  host_.disk().epoch = a.epoch;
  seen_.remembered = a.epoch;
  renewer_.hold(a.epoch);
  return true;
}

bool Agent::act(const core::LetGo&) {
  armed_revision_ = 0;
  renewer_.let_go();
  return true;
}

bool Agent::act(const core::Transact& a) {
  if (!may_send(a.kind)) return false;
  seen_.transactions.push_back(a.kind);
  EtcdRequest request;
  request.kind = EtcdRequest::Kind::commit;
  request.txn = a.txn;
  auto lease = lease_of(a.txn);
  dcs_.call(std::move(request), false, kCallLimit,
            [this, kind = a.kind, lease](const EtcdClient::Answer& answer) {
              committed(kind, lease, answer);
            });
  return true;
}

void Agent::committed(core::TxnKind kind, std::int64_t lease, const EtcdClient::Answer& answer) {
  std::erase(seen_.transactions, kind);
  const auto& reply = answer.reply;
  core::TxnEnd end{kind, reply.ok && !reply.lease_gone, false, false, 0, lease};
  if (end.answered) {
    end.succeeded = reply.succeeded;
    end.revision = reply.revision;
  } else {
    end.lease_gone = reply.lease_gone;
  }
  if (kind == core::TxnKind::retake && end.succeeded) {
    world_.reached("a lock was taken back on promises");
  }
  bool steady = kind == core::TxnKind::status || kind == core::TxnKind::member;
  if (!steady) {
    world_.trace(host_.name(), "{}: {}", name_of(kind),
                 end.succeeded  ? "done"
                 : end.answered ? "refused"
                                : "no answer");
  }
  seen_.txn_ends.push_back(end);
  wake();
  read_dcs();
}

bool Agent::act(const core::Arm& a) {
  if (asker_epoch_ != a.epoch) ask_for(std::nullopt);  // the epoch before it is over
  asked_epoch_ = a.epoch;
  armed_revision_ = a.epoch.mod_revision;
  auto arm = request(lease::Request::Kind::arm);
  arm.epoch = a.epoch;
  arm.deadline = a.deadline;
  arm.ttl = a.ttl;
  host_.ask_guardian(arm);
  return true;
}

bool Agent::act(const core::Disarm& a) {
  armed_revision_ = 0;
  auto disarm = request(lease::Request::Kind::disarm);
  disarm.epoch = a.epoch;
  host_.ask_guardian(disarm);
  return true;
}

bool Agent::act(const core::Fence& a) {
  world_.trace(host_.name(), "fences its server: {}", a.why);
  armed_revision_ = 0;
  host_.ask_guardian(request(lease::Request::Kind::fence));
  return true;
}

bool Agent::act(const core::PollLease& a) {
  EtcdRequest request;
  request.kind = EtcdRequest::Kind::time_to_live;
  request.lease = a.lease;
  dcs_.call(request, true, milliseconds(500), [this](const EtcdClient::Answer& answer) {
    const auto& found = answer.reply;
    if (!found.ok) return;
    lease::LeasePoll poll{found.lease, found.seconds, found.granted_seconds,
                          found.term,  answer.sent,   answer.received};
    if (mutation() && mutation()->before_polled) mutation()->before_polled(poll);
    seen_.polls.push_back(poll);
    if (seconds(found.seconds + 2) < seen_.lease.ttl) wake();
  });
  return true;
}

bool Agent::act(const core::AskPeers& a) {
  seen_.peers_asked = true;
  ask_peers(a.members);
  return true;
}

bool Agent::act(const core::AskTwin&) {  // each host has a name of its own: it asks itself
  seen_.name_taken.reset();
  later(milliseconds(2), [this] {
    seen_.name_taken = false;
    wake();
  });
  return true;
}

bool Agent::act(const core::AskForWal& a) {
  seen_.wal_asked = true;
  host_.after(milliseconds(5), host_.agent_actor(), [this, a, asked_at = host_.now()] {
    seen_.wal_asked = false;
    seen_.wal_answer = core::WalAnswer{asked_at, a.lsn, true};  // here WAL is kept for ever
    measure();
  });
  return true;
}

bool Agent::act(const core::SwitchFence& a) {
  using Kind = lease::Request::Kind;
  world_.trace(host_.name(), "the fence is to be {}", a.on ? "on" : "off");
  host_.ask_guardian(request(a.on ? Kind::resume : Kind::suspend));
  if (!a.on) world_.reached("a fence was switched off in a pause");
  return true;
}

bool Agent::act(const core::ProbeCommit& a) {
  seen_.probing = true;
  seen_.commit_probe = core::CommitProbe{host_.now(), false, false};
  bool hangs = host_.disk().hangs > 0 || !host_.server().actor().runs();
  host_.after(hangs ? a.limit : milliseconds(2), host_.agent_actor(), [this] {
    seen_.probing = false;
    seen_.commit_probe->committed = host_.server().can_acknowledge();
    measure();
  });
  return true;
}

bool Agent::act(const core::ClearMarker&) {
  host_.disk().marker.reset();
  seen_.interrupted_job.reset();
  return true;
}

bool Agent::act(const core::Checkpoint&) {
  host_.after(rng_.between(milliseconds(5), milliseconds(300)), host_.agent_actor(),
              [this] { checkpoint(); });
  return true;
}

void Agent::checkpoint() {
  if (!seen_.server.is_primary()) return;
  if (host_.server().checkpoint()) return measure();
  host_.after(seconds(1), host_.agent_actor(), [this] { checkpoint(); });
}

bool Agent::act(const core::SyncSlots&) {
  host_.after(milliseconds(5), host_.agent_actor(), [this] {
    if (host_.server().running() && host_.server().actor().runs()) return;
    seen_.slots_failed = true;
    wake();
  });
  return true;
}

bool Agent::act(const core::CancelJob&) {
  cancelled_ = true;
  return true;
}

bool Agent::act(const core::Finish& a) {
  world_.trace(host_.name(), "agent finishes: {}", a.message);
  auto finished = request(lease::Request::Kind::finished);
  finished.code = a.exit_code;
  host_.ask_guardian(finished);
  finished_ = true;
  host_.agent_finishes();
  return true;
}

}  // namespace pgsteady::sim
