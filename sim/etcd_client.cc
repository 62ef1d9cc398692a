#include "sim/etcd_client.h"

#include <utility>

#include "sim/cluster.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kShortestSlice = milliseconds(100);
constexpr Duration kPause = milliseconds(50);

}  // namespace

void EtcdClient::call(EtcdRequest request, bool freely, Duration limit, Done done) {
  auto call = std::make_shared<Call>();
  call->request = std::move(request);
  call->freely = freely;
  call->limit = limit;
  call->deadline = host_.now() + limit;
  call->done = std::move(done);
  host_.after(limit, actor_, [this, call] {
    if (!call->finished) {
      if (!call->freely) session.failed(call->newest);
      finish(call, {});
    }
  });
  attempt(call);
}

void EtcdClient::attempt(const Shared& call) {
  if (call->finished || host_.now() >= call->deadline) return;
  int member = session.current;
  call->newest = member;
  ++call->attempts;
  auto sent = host_.now();
  host_.cluster().etcd.ask(
      host_.place(), &actor_, member, false, call->request,
      [this, call, member, sent](const EtcdReply& reply) { answered(call, member, sent, reply); });
  if (!call->freely) return;
  // A member that keeps silent is given a share of the time; then the next one is asked as well.
  auto slice = std::max<Duration>(kShortestSlice, call->limit / kEtcdMembers);
  host_.after(slice, actor_, [this, call, member, attempts = call->attempts] {
    if (call->finished || call->attempts != attempts) return;
    session.failed(member);
    if (on_failed) on_failed(member);
    attempt(call);
  });
}

void EtcdClient::answered(const Shared& call, int member, lease::Instant sent,
                          const EtcdReply& reply) {
  if (call->finished) return;
  if (!reply.ok || !session.accept(member, reply.term)) return failed(call, member);
  finish(call, {reply, sent, host_.now()});
}

void EtcdClient::failed(const Shared& call, int member) {
  session.failed(member);
  if (on_failed) on_failed(member);
  if (!call->freely) return finish(call, {});
  if (member != call->newest) return;
  auto delay = call->attempts % kEtcdMembers == 0 ? kPause : Duration(0);
  host_.after(delay, actor_, [this, call, attempts = call->attempts] {
    if (call->attempts == attempts) attempt(call);
  });
}

void EtcdClient::finish(const Shared& call, const Answer& answer) {
  call->finished = true;
  auto done = std::exchange(call->done, nullptr);
  done(answer);
}

}  // namespace pgsteady::sim
