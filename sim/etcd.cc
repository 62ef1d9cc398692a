#include "sim/etcd.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace pgsteady::sim {
namespace {

constexpr std::int64_t kShortestTtl = 2;
constexpr Duration kExpiryScan = milliseconds(500);
constexpr std::size_t kWaitingLimit = 32;

}  // namespace

Etcd::Etcd(World& world, Network& network, int nodes)
    : world_(world), network_(network), nodes_(nodes), rng_(world.rng().fork()) {
  for (int i = 0; i < kEtcdMembers; ++i) {
    members_.push_back({true, {}, HostClock(seconds(500), int(rng_.between(-45'000, 45'000)))});
  }
  for (auto& member : members_) member.actor.begin();
}

// A member that hears of the present leader.
bool Etcd::led(int member) const {
  return leader_ >= 0 && members_[std::size_t(member)].up && member != isolated_;
}

void Etcd::ask(Place from, Actor* asker, int member, bool stream, EtcdRequest request, Done done) {
  auto life = asker->life();
  // Who asks takes the first answer, however often the question or that arrives.
  auto once = [done = std::move(done), stream,
               taken = std::make_shared<bool>(false)](const EtcdReply& answer) {
    if (!std::exchange(*taken, true) || stream) done(answer);
  };
  auto reply = [this, from, member, asker, life, stream, once](const EtcdReply& answer) {
    if (asker->life() != life) return;
    network_.send(place(member), from, asker, stream, [once, answer] { once(answer); });
  };
  auto arrived = [this, from, member, request = std::move(request), reply] {
    serve(from, member, request, reply);
  };
  if (!is_up(member)) {
    if (network_.whole_both_ways(from, place(member))) {
      world_.after(microseconds(300), asker, [reply] { reply({}); });
    }
    return;
  }
  network_.send(from, place(member), &members_[std::size_t(member)].actor, stream,
                std::move(arrived));
}

void Etcd::serve(Place from, int member, const EtcdRequest& request, const Done& reply) {
  using Kind = EtcdRequest::Kind;
  if (believer_.member == member) {
    if (request.kind != Kind::keep_alive && request.kind != Kind::time_to_live) return;
    world_.reached("a deposed etcd leader answered");
    return reply(believe(request));
  }
  if (!led(member)) {
    bool may_wait = request.kind == Kind::commit && rng_.one_in(2);
    if (may_wait && waiting_.size() < kWaitingLimit) {
      waiting_.push_back({from, member, request, reply});
    }
    return;
  }
  if (request.kind == Kind::keep_alive && keepalives_hang_ > 0) return;
  auto answer = carry_out(from, request);
  bool lost = request.kind == Kind::commit && lost_answers_ > 0 &&
              rng_.below(1000) < std::uint64_t(lost_answers_);
  if (lost) return world_.reached("the answer to a transaction was lost");
  reply(answer);
}

EtcdReply Etcd::remaining(const std::map<std::int64_t, Lease>& leases, std::int64_t lease) const {
  EtcdReply answer;
  answer.ok = true;
  answer.lease = lease;
  answer.seconds = -1;
  auto found = leases.find(lease);
  if (found == leases.end()) return answer;
  // By the leader's clock, which also says when it is over.
  const auto& clock = members_[std::size_t(found->second.granter)].clock;
  auto left = clock.local_length(found->second.expires - world_.now());
  answer.seconds = left / seconds(1);
  answer.granted_seconds = found->second.ttl_seconds;
  return answer;
}

EtcdReply Etcd::believe(const EtcdRequest& request) {
  EtcdReply answer;
  answer.ok = true;
  if (request.kind == EtcdRequest::Kind::time_to_live) {
    answer = remaining(believer_.leases, request.lease);
  } else {
    auto found = believer_.leases.find(request.lease);
    answer.lease = request.lease;
    if (found != believer_.leases.end()) {
      answer.seconds = found->second.ttl_seconds;
      found->second.expires = world_.now() + seconds(found->second.ttl_seconds);
    }
  }
  answer.term = believer_.term;
  answer.revision = believer_.revision;
  return answer;
}

EtcdReply Etcd::carry_out(Place from, const EtcdRequest& request) {
  using Kind = EtcdRequest::Kind;
  EtcdReply answer;
  answer.ok = true;
  switch (request.kind) {
    case Kind::read:
      answer.view = view();
      break;
    case Kind::check:
      if (const auto* key = find("leader"))
        answer.key = {key->value, key->lease, key->mod_revision};
      break;
    case Kind::commit:
      commit(from, request.txn, answer);
      break;
    case Kind::grant: {
      Lease lease{std::max(request.ttl_seconds, kShortestTtl), {}, leader_};
      lease.expires = expiry(lease);
      answer.lease = next_lease_++;
      answer.seconds = lease.ttl_seconds;
      leases_[answer.lease] = lease;
      expect_expiry();
      break;
    }
    case Kind::revoke:
      answer.lease_gone = leases_.count(request.lease) == 0;
      remove_lease(request.lease);
      break;
    case Kind::time_to_live:
      answer = remaining(leases_, request.lease);
      break;
    case Kind::keep_alive: {
      answer.lease = request.lease;
      auto found = leases_.find(request.lease);
      if (found == leases_.end()) break;
      if (found->second.expires <= world_.now()) {
        world_.reached("a lease was overdue when it was renewed");
        break;  // etcd waits until it is revoked; then it is gone
      }
      found->second.expires = expiry(found->second);
      answer.seconds = found->second.ttl_seconds;
      break;
    }
  }
  answer.term = term_;
  answer.revision = revision_;
  return answer;
}

bool Etcd::holds(const Compare& compare) const {
  const auto* key = find(compare.key);
  switch (compare.what) {
    case Compare::What::create_revision:
      return (key ? key->create_revision : 0) == compare.revision;
    case Compare::What::mod_revision:
      return (key ? key->mod_revision : 0) == compare.revision;
    case Compare::What::none_newer:
      return std::none_of(keys_.begin(), keys_.end(), [&](const auto& entry) {
        return entry.first.starts_with(compare.key) && entry.second.mod_revision > compare.revision;
      });
  }
  return false;
}

void Etcd::commit(Place from, const Txn& txn, EtcdReply& reply) {
  reply.succeeded = std::all_of(txn.compares.begin(), txn.compares.end(),
                                [this](const Compare& compare) { return holds(compare); });
  if (!reply.succeeded) return;
  for (const auto& operation : txn.operations) {
    if (operation.lease == 0 || leases_.count(operation.lease) != 0) continue;
    reply.lease_gone = true;
    reply.succeeded = false;
    return;
  }
  if (before_commit) before_commit(from, txn);
  ++revision_;
  for (const auto& operation : txn.operations) apply(operation);
  changed();
}

void Etcd::apply(const Operation& operation) {
  if (operation.what == Operation::What::remove) {
    keys_.erase(operation.key);
    return;
  }
  auto& key = keys_[operation.key];
  if (key.key.empty()) {
    key.key = operation.key;
    key.create_revision = revision_;
  }
  key.mod_revision = revision_;
  key.value = operation.value;
  key.lease = operation.lease;
}

void Etcd::changed() {
  view_.reset();
  for (auto& [from, watcher] : watchers_) {
    if (!led(watcher.member) || watcher.actor->life() != watcher.life) continue;
    auto number = watcher.number;
    auto place_of_node = from;
    network_.send(place(watcher.member), from, watcher.actor, true,
                  [this, place_of_node, number, revision = revision_] {
                    auto found = watchers_.find(place_of_node);
                    if (found == watchers_.end() || found->second.number != number) return;
                    auto tell = found->second.changed;
                    tell(revision);
                  });
  }
}

void Etcd::watch(Place from, Actor* watcher, int member, std::function<void(std::int64_t)> changed,
                 std::function<void()> cancelled) {
  watchers_[from] = {watcher,         watcher->life(),    member,
                     ++next_watcher_, std::move(changed), std::move(cancelled)};
}

void Etcd::unwatch(Place from) {
  watchers_.erase(from);
}

void Etcd::cancel_watches() {
  for (auto& [from, watcher] : std::exchange(watchers_, {})) {
    if (watcher.actor->life() != watcher.life) continue;
    network_.send(place(watcher.member), from, watcher.actor, true, watcher.cancelled);
  }
}

const KeyValue* Etcd::find(const std::string& key) const {
  auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &found->second;
}

std::shared_ptr<const ClusterView> Etcd::view() {
  if (view_) return view_;
  std::vector<KeyValue> keys;
  keys.reserve(keys_.size());
  for (const auto& [name, key] : keys_) keys.push_back(key);
  view_ = std::make_shared<const ClusterView>(parse_cluster(keys, revision_));
  if (view_->config) settings_ = *view_->config;
  return view_;
}

const DynamicConfig& Etcd::settings() {
  view();
  return settings_;
}

void Etcd::delete_key(const std::string& key) {
  if (keys_.count(key) == 0) return;
  ++revision_;
  keys_.erase(key);
  changed();
}

void Etcd::put_by_hand(const std::string& key, const std::string& value) {
  ++revision_;
  apply(Operation::put(key, value));
  changed();
}

void Etcd::revoke_by_hand(std::int64_t lease) {
  remove_lease(lease);
}

// --- members and leaders -----------------------------------------------------------------------

void Etcd::stop_member(int member) {
  auto& stopped = members_[std::size_t(member)];
  if (!stopped.up) return;
  stopped.up = false;
  stopped.actor.end();
  world_.trace("etcd", "member {} stopped", member);
  if (believer_.member == member) believer_ = {};
  auto up = std::count_if(members_.begin(), members_.end(), [](auto& m) { return m.up; });
  if (leader_ == member || up < 2) lose_leader();
}

void Etcd::start_member(int member) {
  auto& started = members_[std::size_t(member)];
  if (started.up) return;
  started.up = true;
  started.actor.begin();
  for (int i = 0; i < frozen_; ++i) world_.freeze(started.actor);
  world_.trace("etcd", "member {} started", member);
  if (leader_ < 0) lose_leader();
}

// What it was sent meanwhile it carries out afterwards, however late that is.
void Etcd::hang_member(int member, bool hangs) {
  auto& actor = members_[std::size_t(member)].actor;
  hangs ? world_.freeze(actor) : world_.thaw(actor);
  if (hangs && leader_ == member) lose_leader();
  if (!hangs && leader_ < 0) lose_leader();
}

// As by SIGSTOP to all members: what was sent meanwhile is looked at afterwards, and no election
// need follow.
void Etcd::freeze(bool frozen) {
  frozen_ += frozen ? 1 : -1;
  for (auto& member : members_) {
    frozen ? world_.freeze(member.actor) : world_.thaw(member.actor);
  }
  if (frozen_ == 0 && leader_ < 0) lose_leader();
}

void Etcd::elect() {
  if (leader_ >= 0) lose_leader();
}

void Etcd::depose(Duration believes) {
  if (leader_ < 0 || isolated_ >= 0) return;
  isolated_ = leader_;
  believer_ = {leader_, term_, revision_, leases_};
  world_.trace("etcd", "member {} is deposed and does not know it for {} ms", leader_,
               believes.count() / 1'000'000);
  lose_leader();
  world_.after(believes, nullptr, [this] {
    believer_ = {};
    isolated_ = -1;
    if (leader_ < 0) lose_leader();
  });
}

// Nobody leads; an election follows if a majority can hold one.
void Etcd::lose_leader() {
  if (leader_ >= 0) world_.trace("etcd", "no leader in term {}", term_);
  leader_ = -1;
  auto election = ++election_;
  world_.after(rng_.between(milliseconds(200), milliseconds(1500)), nullptr, [this, election] {
    if (election != election_ || frozen_ > 0) return;
    std::vector<int> able;
    for (int i = 0; i < kEtcdMembers; ++i) {
      const auto& candidate = members_[std::size_t(i)];
      if (candidate.up && !candidate.actor.frozen() && i != isolated_) able.push_back(i);
    }
    if (able.size() >= 2) come_to_lead(able[rng_.below(able.size())]);
  });
}

void Etcd::come_to_lead(int member) {
  leader_ = member;
  ++term_;
  world_.trace("etcd", "member {} leads in term {}", member, term_);
  for (auto& [id, lease] : leases_) {
    lease.granter = leader_;
    lease.expires = expiry(lease) + rng_.between(milliseconds(0), milliseconds(1000));
  }
  expect_expiry();
  for (auto& waiting : std::exchange(waiting_, {})) {
    if (!led(waiting.member)) continue;
    world_.reached("a transaction waited for an etcd leader");
    waiting.reply(carry_out(waiting.from, waiting.request));
  }
}

// --- leases ------------------------------------------------------------------------------------

Moment Etcd::expiry(const Lease& lease) const {
  const auto& clock = members_[std::size_t(std::max(leader_, 0))].clock;
  return world_.now() + clock.true_length(seconds(lease.ttl_seconds));
}

// etcd looks for expired leases twice a second.
void Etcd::expect_expiry() {
  if (expiry_expected_ || leases_.empty()) return;
  auto first = Moment::max();
  for (const auto& [id, lease] : leases_) first = std::min(first, lease.expires);
  auto scans = first.time_since_epoch() / kExpiryScan + 1;
  expiry_expected_ = true;
  world_.at(Moment(scans * kExpiryScan), nullptr, [this] {
    expiry_expected_ = false;
    expire();
    expect_expiry();
  });
}

void Etcd::expire() {
  if (!available()) {
    for (auto& [id, lease] : leases_) lease.expires = std::max(lease.expires, world_.now());
    return;
  }
  std::vector<std::int64_t> over;
  for (const auto& [id, lease] : leases_) {
    if (lease.expires <= world_.now()) over.push_back(id);
  }
  for (auto id : over) remove_lease(id);
}

void Etcd::remove_lease(std::int64_t lease) {
  if (leases_.erase(lease) == 0) return;
  bool any = std::any_of(keys_.begin(), keys_.end(),
                         [lease](const auto& entry) { return entry.second.lease == lease; });
  if (!any) return;
  ++revision_;
  for (auto it = keys_.begin(); it != keys_.end();) {
    if (it->second.lease != lease) {
      ++it;
      continue;
    }
    if (it->first == "leader")
      world_.trace("etcd", "the leader key of {} expires", it->second.value);
    it = keys_.erase(it);
  }
  changed();
}

}  // namespace pgsteady::sim
