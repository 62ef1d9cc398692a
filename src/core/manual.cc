// Switchover and failover by hand: the failover key as a leader carries it out, and the requests
// that write it. Whoever writes the key (patronictl does it itself when no node answers) is served.
#include "core/candidates.h"
#include "core/turn.h"
#include "lease/mutant.h"

namespace pgsteady::core {
namespace {

using Kind = Request::Kind;

constexpr auto kAnswerLimit = seconds(20);  // and the time that a dead leader's lease needs
constexpr auto kFreshWithin = seconds(3);   // a read after our own write
constexpr auto kMostLate = seconds(5);      // for a scheduled switchover

const char* name_of(const Request& request) {
  return request.kind == Kind::failover ? "failover" : "switchover";
}
const char* title_of(const Request& request) {
  return request.kind == Kind::failover ? "Failover" : "Switchover";
}

// --- the leader's part ---------------------------------------------------------------------------

void clear_failover(Turn& turn) {
  const auto& request = *turn.cluster().failover;
  Txn txn;
  txn.compares = {Compare::unchanged("failover", request.mod_revision),
                  Compare::unchanged("leader", turn.state.lock->mod_revision)};
  txn.operations = {Operation::put("failover", "{}")};
  turn.transact(TxnKind::clear_failover, std::move(txn));
}

void refuse_failover(Turn& turn, const std::string& why) {
  turn.say(Reason::Level::warning, "manual failover: " + why + "; cleaning up failover key");
  clear_failover(turn);
}

// A scheduled one whose time has not come, or has passed unused.
bool waits_for_its_time(Turn& turn, const FailoverRequest& request) {
  if (request.scheduled_at.empty()) return false;
  auto at = parse_time(request.scheduled_at);
  if (!at) {
    refuse_failover(turn, fmt::format("scheduled_at '{}' is no time", request.scheduled_at));
    return true;
  }
  auto left = at->time - turn.now.wall;
  if (left > seconds(0)) {
    turn.wake_in(std::chrono::duration_cast<lease::Duration>(left));
    turn.say(fmt::format("Awaiting failover at {} (in {} seconds)", request.scheduled_at,
                         left / seconds(1)));
    return true;
  }
  auto most_late = std::max<lease::Duration>(kMostLate, turn.settings().loop_wait * 3 / 2);
  if (-left <= most_late || MUTANT(schedule_never_stale)) return false;
  refuse_failover(turn, "found a stale value, it was due at " + request.scheduled_at);
  return true;
}

// The standby with the highest failover_priority, of several the one that has received most: none
// that may take over is far behind.
const Candidate* best_of(const Turn& turn, const std::vector<Candidate>& candidates) {
  auto rank = [&](const Candidate& candidate) {
    const auto* member = turn.cluster().member(candidate.name);
    return std::pair(member ? member->tags.failover_priority() : 0, *candidate.sent);
  };
  const Candidate* best = nullptr;
  for (const auto& candidate : candidates) {
    if (!candidate.why_not.empty() || !candidate.sent) continue;
    if (!best || rank(candidate) > rank(*best)) best = &candidate;
  }
  return best;
}

// Whom to hand over to, if that is possible.
std::optional<MemberName> choose(Turn& turn, const FailoverRequest& request,
                                 const PeerRound& round) {
  auto candidates = assess(turn, round, request.force);
  auto why_not = why_none(candidates, request.candidate);
  bool no_stream = why_not.empty();
  if (no_stream) {
    if (!request.candidate.empty()) return request.candidate;
    if (const auto* best = best_of(turn, candidates)) return best->name;
    why_not = "no replica streams from me";
  }
  if (!may_pass(turn, candidates, turn.state.failover_seen->at, no_stream)) {
    refuse_failover(turn, "no good candidates have been found: " + why_not);
  }
  return std::nullopt;
}

bool is_for_me(Turn& turn, const FailoverRequest& request) {
  bool other = !request.leader.empty() && request.leader != turn.self.name;
  // This node as it led before, and named a successor who did not take over.
  bool outlived = request.leader == turn.self.name && request.scheduled_at.empty() &&
                  request.mod_revision < turn.state.term_began;
  if (other || (outlived && !MUTANT(request_outlives_its_leader))) {
    // Mostly the key that named this node as the successor of the leader before.
    turn.say(other ? "Cleaning up failover key"
                   : "Cleaning up failover key: it is older than this leadership");
    clear_failover(turn);
    return false;
  }
  if (request.candidate == turn.self.name) {
    turn.say("manual failover: I am already the leader, no need to failover");
    clear_failover(turn);
    return false;
  }
  return true;
}

// --- the part of the node that was asked ---------------------------------------------------------

void answer(Turn& turn, int status, std::string text) {
  turn.say(fmt::format("{} request: {} {}", name_of(turn.state.manual->request), status, text));
  turn.act(Reply{turn.state.manual->request.id, status, std::move(text)});
  turn.state.manual.reset();
}

// Status 0: they are good.
Reply check_arguments(const Turn& turn, const Request& request) {
  auto refused = [&](int status, std::string text) {
    return Reply{request.id, status, std::move(text)};
  };
  bool failover = request.kind == Kind::failover;
  if (failover && request.candidate.empty()) {
    return refused(400, "Failover could be performed only to a specific candidate");
  }
  if (!failover && request.leader.empty()) {
    return refused(400, "Switchover could be performed only from a specific leader");
  }
  if (failover && !request.scheduled_at.empty()) {
    return refused(400, "Failover can't be scheduled");
  }
  if (!request.scheduled_at.empty() && turn.settings().pause) {
    return refused(400, "Can't schedule switchover in the paused state");
  }
  if (turn.settings().pause && request.candidate.empty()) {
    return refused(400, "Switchover is possible only to a specific candidate in a paused state");
  }
  if (request.leader == request.candidate) {
    return refused(400, "Switchover target and source are the same");
  }
  return refused(0, "");
}

// What the keys alone say against it.
std::string why_not_possible(const Turn& turn, const Request& request) {
  const auto& leader = turn.cluster().leader;
  if (request.kind == Kind::switchover && (!leader || leader->name != request.leader)) {
    return "leader name does not match";
  }
  if (!request.candidate.empty() && !turn.cluster().member(request.candidate)) {
    return "candidate does not exists";
  }
  if (leader && leader->name == request.candidate) return "the candidate is the leader already";
  return "";
}

void write_request(Turn& turn) {
  if (!turn.may_transact(TxnKind::ask_failover)) return;
  auto& manual = *turn.state.manual;
  const auto& request = manual.request;
  FailoverRequest value{request.leader, request.candidate, request.scheduled_at, 0, request.force};
  Txn txn;
  txn.compares = {Compare::unchanged("failover", turn.cluster().failover_revision)};
  txn.operations = {Operation::put("failover", failover_to_json(value))};
  manual.step = ManualFailover::Step::writing;
  turn.transact(TxnKind::ask_failover, std::move(txn));
}

void check(Turn& turn) {
  auto& manual = *turn.state.manual;
  const auto& request = manual.request;
  const auto* round = round_since(turn, request.received);
  if (!round) return;
  auto candidates = assess(turn, *round, request.force);
  if (candidates.empty()) {
    return answer(turn, 412,
                  fmt::format("{} is not possible: cluster does not have members except "
                              "leader",
                              name_of(request)));
  }
  if (auto why = why_none(candidates, request.candidate); !why.empty()) {
    if (may_pass(turn, candidates, request.received)) return;
    return answer(turn, 412,
                  fmt::format("{} is not possible: no good candidates have been found ({})",
                              name_of(request), why));
  }
  for (const auto& candidate : candidates) {
    if (candidate.name == request.candidate) manual.loss_bytes = candidate.loss_bytes;
  }
  write_request(turn);
}

std::string success(const ManualFailover& manual, const MemberName& leader) {
  const auto& request = manual.request;
  bool other = !request.candidate.empty() && request.candidate != leader;
  if (other) {
    return fmt::format("{}ed over to \"{}\" instead of \"{}\"",
                       request.kind == Kind::failover ? "Fail" : "Switch", leader,
                       request.candidate);
  }
  auto text = fmt::format("Successfully {}ed over to \"{}\"",
                          request.kind == Kind::failover ? "fail" : "switch", leader);
  if (manual.loss_bytes > 0) {
    text +=
        fmt::format(", which lacked {} bytes of WAL known to exist elsewhere", manual.loss_bytes);
  }
  return text;
}

void await_result(Turn& turn) {
  const auto& manual = *turn.state.manual;
  const auto& cluster = turn.cluster();
  if (!turn.seen.dcs.reachable || cluster.revision < manual.written) return;
  const auto& leader = cluster.leader;
  if (leader && leader->name != manual.old_leader) {
    return answer(turn, 200, success(manual, leader->name));
  }
  if (leader && !cluster.failover && !turn.state.handing_over) {
    answer(
        turn, 503,
        fmt::format("{} failed (the log of {} says why)", title_of(manual.request), leader->name));
  }
}

void pursue(Turn& turn) {
  auto& manual = turn.state.manual;
  if (!manual) return;
  turn.wake_at(manual->until);
  if (turn.now.boot >= manual->until || turn.seen.stop_by) {
    return answer(turn, 503, fmt::format("{} status unknown", title_of(manual->request)));
  }
  bool checking = manual->step == ManualFailover::Step::checking;
  if (checking && !manual->request.scheduled_at.empty()) return write_request(turn);
  if (checking) check(turn);
  if (manual && manual->step == ManualFailover::Step::waiting) await_result(turn);
}

void ask(Turn& turn, Request request) {
  if (request.kind == Kind::failover && !request.leader.empty()) request.kind = Kind::switchover;
  auto refusal = check_arguments(turn, request);
  if (refusal.status == 0 && !request.scheduled_at.empty()) {
    refusal = check_schedule(turn, request, "switchover");
  }
  if (refusal.status == 0 && !turn.fresh()) {
    refusal = {request.id, 503, "failed to write failover key into DCS: it is not accessible"};
  }
  if (refusal.status == 0 && turn.state.manual) {
    refusal = {request.id, 503, "another switchover or failover is under way"};
  }
  if (refusal.status == 0 && request.scheduled_at.empty()) {
    if (auto why = why_not_possible(turn, request); !why.empty()) {
      refusal = {request.id, 412, why};
    }
  }
  if (refusal.status != 0) return turn.act(std::move(refusal));
  turn.say(fmt::format("received {} request with leader={} candidate={} scheduled_at={}",
                       name_of(request), request.leader, request.candidate, request.scheduled_at));
  auto& manual = turn.state.manual.emplace();
  const auto& leader = turn.cluster().leader;
  manual.old_leader = leader ? leader->name : "";
  manual.until = turn.now.boot + kAnswerLimit + 2 * turn.settings().ttl;
  manual.request = std::move(request);
}

void cancel(Turn& turn, const Request& request) {
  const auto& failover = turn.cluster().failover;
  if (!turn.fresh()) return turn.act(Reply{request.id, 503, "DCS is not accessible"});
  if (!failover || failover->scheduled_at.empty()) {
    return turn.act(Reply{request.id, 404, "no switchover is scheduled"});
  }
  if (turn.state.cancelling != 0 || !turn.may_transact(TxnKind::cancel_failover)) {
    return turn.act(Reply{request.id, 409, "it is being deleted"});
  }
  turn.state.cancelling = request.id;
  Txn txn;
  txn.compares = {Compare::unchanged("failover", failover->mod_revision)};
  txn.operations = {Operation::put("failover", "{}")};
  turn.transact(TxnKind::cancel_failover, std::move(txn));
}

void absorb_cancelled(Turn& turn, const TxnEnd& end) {
  auto id = std::exchange(turn.state.cancelling, 0);
  if (id == 0) return;
  if (!end.answered) return turn.act(Reply{id, 503, "DCS is not accessible"});
  turn.act(end.succeeded ? Reply{id, 200, "scheduled switchover deleted"}
                         : Reply{id, 409, "somebody else changed the failover key"});
}

}  // namespace

Reply check_schedule(const Turn& turn, const Request& request, const char* what) {
  auto at = parse_time(request.scheduled_at);
  if (!at) {
    return {request.id, 422,
            "Unable to parse scheduled timestamp. It should be in an unambiguous format, "
            "e.g. ISO 8601"};
  }
  if (!at->has_zone) {
    return {request.id, 400,
            fmt::format("Timezone information is mandatory for the scheduled {}", what)};
  }
  if (at->time < turn.now.wall) {
    return {request.id, 422, fmt::format("Cannot schedule {} in the past", what)};
  }
  return {request.id, 0, ""};
}

void absorb_manual(Turn& turn, const TxnEnd& end) {
  if (end.kind == TxnKind::cancel_failover) return absorb_cancelled(turn, end);
  auto& manual = turn.state.manual;
  if (!manual || manual->step != ManualFailover::Step::writing) return;
  if (!end.succeeded) return answer(turn, 503, "failed to write failover key into DCS");
  if (!manual->request.scheduled_at.empty()) return answer(turn, 202, "Switchover scheduled");
  manual->written = end.revision;
  manual->step = ManualFailover::Step::waiting;
}

void duty_requests(Turn& turn) {
  auto requests = std::exchange(turn.state.held_requests, {});
  requests.insert(requests.end(), turn.seen.requests.begin(), turn.seen.requests.end());
  for (const auto& request : requests) {
    bool soon_fresh = turn.seen.dcs.reachable && !turn.fresh();
    if (soon_fresh && turn.now.boot - request.received < kFreshWithin) {
      turn.state.held_requests.push_back(request);
      turn.wake_at(request.received + kFreshWithin);
      continue;
    }
    switch (request.kind) {
      case Kind::switchover:
      case Kind::failover:
        ask(turn, request);
        break;
      case Kind::cancel_switchover:
        cancel(turn, request);
        break;
      case Kind::restart:
        ask_restart(turn, request);
        break;
      case Kind::cancel_restart:
        cancel_restart(turn, request);
        break;
      case Kind::reinitialize:
        ask_reinitialize(turn, request);
        break;
      case Kind::reload:
        turn.act(Reply{request.id, 202, "reload scheduled"});
        turn.act(Reload{});
        break;
      case Kind::patch_config:
      case Kind::put_config:
        ask_config(turn, request);
        break;
    }
  }
  pursue(turn);
}

void rule_failover_key(Turn& turn) {
  auto& state = turn.state;
  const auto& request = turn.cluster().failover;
  if (!turn.fresh() || turn.busy() || !request) return;
  // A pause that began meanwhile: it may be too late when that is over.
  if (turn.settings().pause && !request->scheduled_at.empty()) return;
  if (waits_for_its_time(turn, *request) || !is_for_me(turn, *request)) return;
  if (turn.settings().pause && request->candidate.empty()) {
    return refuse_failover(turn, "possible only to a specific candidate in a paused state");
  }
  if (!state.failover_seen || state.failover_seen->revision != request->mod_revision) {
    state.failover_seen = SeenFailover{request->mod_revision, turn.now.boot};
  }
  const auto* round = round_since(turn, state.failover_seen->at);
  if (!round) return;
  auto successor = choose(turn, *request, *round);
  if (!successor) return;
  turn.say(fmt::format("manual failover: demoting myself, {} takes over", *successor));
  state.successor = *successor;
  state.handing_over = true;
}

}  // namespace pgsteady::core
