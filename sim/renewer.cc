#include "sim/renewer.h"

#include <algorithm>

#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

using lease::Renewal;

Duration repeat_interval(Duration ttl) {
  return std::clamp<Duration>(ttl / 50, milliseconds(100), milliseconds(500));
}

Duration stuck_after(Duration ttl) {
  return std::clamp<Duration>(ttl / 4, milliseconds(500), milliseconds(2000));
}

Duration check_limit(Duration ttl) {
  return std::clamp<Duration>(ttl / 2, milliseconds(1000), milliseconds(5000));
}

}  // namespace

void Renewer::adopt(std::int64_t lease, Duration ttl, lease::Instant granted_at) {
  close_streams();
  renewal_.adopt(lease, ttl, granted_at);
  tell();
  begin_round();
}

void Renewer::hold(const lease::Epoch& epoch) {
  renewal_.hold(epoch, host_.name());
  tell();
  begin_round();
}

void Renewer::let_go() {
  renewal_.let_go();
  tell();
}

void Renewer::drop() {
  renewal_.drop();
  close_streams();
  ++timer_;
  tell();
}

void Renewer::schedule(Duration delay, void (Renewer::*step)()) {
  auto timer = ++timer_;
  host_.after(delay, actor_, [this, timer, step] {
    if (timer == timer_) (this->*step)();
  });
}

void Renewer::begin_round() {
  auto state = renewal_.state();
  if (state == Renewal::State::none || state == Renewal::State::lease_lost) return;
  round_began_ = host_.now();
  send_over(session_.current);
  schedule(repeat_interval(renewal_.ttl()), &Renewer::look);
}

void Renewer::look() {
  auto state = renewal_.state();
  if (state == Renewal::State::none || state == Renewal::State::lease_lost) return;
  bool counted = renewal_.counted() && *renewal_.counted() >= round_began_;
  if (counted || state == Renewal::State::key_lost) {
    auto interval = renewal_.epoch() ? lease::renewal_interval(renewal_.ttl())
                                     : lease::idle_renewal_interval(renewal_.ttl());
    auto rest = round_began_ + interval - host_.now();
    return schedule(std::max<Duration>(rest, Duration(0)), &Renewer::begin_round);
  }
  if (!hooks_.may_renew()) return schedule(repeat_interval(renewal_.ttl()), &Renewer::look);
  session_.failed(asked_);
  send_over(session_.current == asked_ ? (asked_ + 1) % kEtcdMembers : session_.current);
  schedule(repeat_interval(renewal_.ttl()), &Renewer::look);
}

void Renewer::send_over(int member) {
  if (!hooks_.may_renew()) return;
  asked_ = member;
  send_keepalive(member);
  if (renewal_.epoch() && renewal_.state() == Renewal::State::alive) send_check(member);
}

Renewer::Stream& Renewer::stream_to(int member) {
  auto found = streams_.find(member);
  if (found != streams_.end()) {
    const auto& unanswered = found->second.unanswered;
    bool stuck =
        !unanswered.empty() && host_.now() - unanswered.front() > stuck_after(renewal_.ttl());
    if (!stuck) return found->second;
    close_stream(member);
  }
  auto& stream = streams_[member];
  stream.number = next_stream_++;
  return stream;
}

void Renewer::close_stream(int member) {
  auto found = streams_.find(member);
  if (found == streams_.end()) return;
  renewal_.stream_broken(found->second.number);
  streams_.erase(found);
}

void Renewer::close_streams() {
  while (!streams_.empty()) close_stream(streams_.begin()->first);
}

void Renewer::send_keepalive(int member) {
  auto& stream = stream_to(member);
  auto sent = host_.now();
  stream.unanswered.push_back(sent);
  renewal_.keepalive_sent(stream.number, sent);
  EtcdRequest request;
  request.kind = EtcdRequest::Kind::keep_alive;
  request.lease = renewal_.lease();
  host_.cluster().etcd.ask(host_.place(), &actor_, member, true, std::move(request),
                           [this, member, number = stream.number](const EtcdReply& reply) {
                             keepalive_answered(member, number, reply);
                           });
}

void Renewer::keepalive_answered(int member, std::size_t number, const EtcdReply& reply) {
  auto found = streams_.find(member);
  if (found == streams_.end() || found->second.number != number) return;
  if (!reply.ok) return close_stream(member);
  if (!found->second.unanswered.empty()) found->second.unanswered.pop_front();
  session_.accept(member, reply.term);
  renewal_.keepalive_answered(number, reply.lease, reply.seconds, reply.term);
  tell();
}

void Renewer::send_check(int member) {
  auto id = renewal_.check_sent(host_.now());
  EtcdRequest request;
  request.kind = EtcdRequest::Kind::check;
  auto expires = host_.now() + check_limit(renewal_.ttl());
  host_.cluster().etcd.ask(host_.place(), &actor_, member, false, std::move(request),
                           [this, member, id, expires](const EtcdReply& reply) {
                             if (host_.now() > expires) return renewal_.check_failed(id);
                             check_answered(member, id, reply);
                           });
}

void Renewer::check_answered(int member, std::uint64_t id, const EtcdReply& reply) {
  if (!reply.ok || !session_.accept(member, reply.term)) return renewal_.check_failed(id);
  renewal_.check_answered(id, reply.key, reply.term);
  tell();
}

void Renewer::tell() {
  const auto counted = renewal_.counted();
  const bool newly_counted = counted && counted != told_counted_;
  auto held_until = renewal_.held_until();
  if (newly_counted && held_until) {
    auto deadline = *held_until;
    const auto* mutation = host_.cluster().settings.mutation;
    if (mutation && mutation->before_extend) {
      mutation->before_extend(deadline, host_.now(), renewal_.ttl());
    }
    hooks_.extend(*renewal_.epoch(), deadline, renewal_.ttl());
  }
  if (!newly_counted && renewal_.state() == told_state_ && renewal_.lease() == told_lease_ &&
      renewal_.epoch() == told_epoch_) {
    return;
  }
  told_state_ = renewal_.state();
  told_lease_ = renewal_.lease();
  told_epoch_ = renewal_.epoch();
  told_counted_ = counted;
  hooks_.report(renewal_);
}

}  // namespace pgsteady::sim
