// Dcs over etcd: turns each call into a request, and each answer into the loop's words.
#include <atomic>

#include "dcs/call.h"
#include "dcs/watch.h"

namespace pgsteady::dcs {
namespace {

// What the loop's thread is told: nothing any more once the Dcs has gone.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  explicit Mailbox(Post post) : post_(std::move(post)) {}
  void close() { open_ = false; }
  void send(std::function<void()> message) {
    post_([self = shared_from_this(), message = std::move(message)] {
      if (self->open_) message();
    });
  }

 private:
  Post post_;
  std::atomic<bool> open_ = true;
};

void fill(pb::Compare& to, const pgsteady::Compare& from, const std::string& prefix) {
  to.set_key(prefix + from.key);
  to.set_result(pb::Compare::EQUAL);
  switch (from.what) {
    case Compare::What::create_revision:
      to.set_target(pb::Compare::CREATE);
      to.set_create_revision(from.revision);
      break;
    case Compare::What::mod_revision:
      to.set_target(pb::Compare::MOD);
      to.set_mod_revision(from.revision);
      break;
    case Compare::What::none_newer:  // holds for an empty range too
      to.set_range_end(prefix_end(prefix + from.key));
      to.set_target(pb::Compare::MOD);
      to.set_result(pb::Compare::LESS);
      to.set_mod_revision(from.revision + 1);
      break;
  }
}

void fill(pb::RequestOp& to, const Operation& from, const std::string& prefix) {
  if (from.what == Operation::What::remove) {
    to.mutable_request_delete_range()->set_key(prefix + from.key);
    return;
  }
  auto* put = to.mutable_request_put();
  put->set_key(prefix + from.key);
  put->set_value(from.value);
  put->set_lease(from.lease);
}

Snapshot snapshot(const pb::RangeResponse& response, std::size_t prefix_length) {
  Snapshot result;
  result.revision = response.header().revision();
  result.term = response.header().raft_term();
  for (const auto& kv : response.kvs()) {
    result.keys.push_back({kv.key().substr(prefix_length), kv.value(), kv.create_revision(),
                           kv.mod_revision(), kv.lease()});
  }
  return result;
}

class Etcd : public Dcs {
 public:
  Etcd(Options options, Post post)
      : mailbox_(std::make_shared<Mailbox>(std::move(post))),
        prefix_(options.prefix),
        reactor_("dcs"),
        session_(reactor_, std::move(options)) {}
  ~Etcd() override {
    mailbox_->close();
    reactor_.stop();
  }

  void read(std::chrono::milliseconds limit, Callback<Snapshot> done) override;
  void commit(const Txn& txn, std::chrono::milliseconds limit, Callback<TxnResult> done) override;
  void grant_lease(std::chrono::seconds ttl, std::chrono::milliseconds limit,
                   Callback<LeaseGrant> done) override;
  void revoke_lease(std::int64_t id, std::chrono::milliseconds limit,
                    Callback<std::int64_t> done) override;
  void lease_remaining(std::int64_t id, std::chrono::milliseconds limit,
                       Callback<LeaseRemaining> done) override;
  void watch(std::function<void()> changed) override;

 private:
  // Sends a request from the reactor's thread; `translate` makes T of the answer there.
  template <typename Response, typename T, typename Prepare, typename Translate>
  void call(Repeat repeat, std::chrono::milliseconds limit, Prepare prepare, Translate translate,
            Callback<T> done);

  std::shared_ptr<Mailbox> mailbox_;
  const std::string prefix_;
  Reactor reactor_;
  Session session_;
  std::unique_ptr<Watcher> watcher_;
};

template <typename Response, typename T, typename Prepare, typename Translate>
void Etcd::call(Repeat repeat, std::chrono::milliseconds limit, Prepare prepare,
                Translate translate, Callback<T> done) {
  auto answered = [mailbox = mailbox_, translate, done](Result<Answer<Response>> answer) {
    Result<T> result = answer ? translate(*answer) : Result<T>(tl::unexpected(answer.error()));
    mailbox->send([done, result = std::move(result)]() mutable { done(std::move(result)); });
  };
  reactor_.post([this, repeat, limit, prepare, answered] {
    Call<Response>::start(session_, repeat, true, limit, prepare, answered);
  });
}

void Etcd::read(std::chrono::milliseconds limit, Callback<Snapshot> done) {
  pb::RangeRequest request;
  request.set_key(prefix_);
  request.set_range_end(prefix_end(prefix_));
  call<pb::RangeResponse, Snapshot>(
      Repeat::freely, limit,
      [request](Endpoint& endpoint, auto* context, auto* queue) {
        return endpoint.kv->PrepareAsyncRange(context, request, queue);
      },
      [this](const Answer<pb::RangeResponse>& answer) -> Result<Snapshot> {
        auto result = snapshot(answer.body, prefix_.size());
        result.sent_at = answer.sent_at;
        std::int64_t newest = 0;
        for (const auto& key : result.keys) newest = std::max(newest, key.mod_revision);
        if (watcher_) watcher_->seen_elsewhere(newest);
        return result;
      },
      std::move(done));
}

void Etcd::commit(const Txn& txn, std::chrono::milliseconds limit, Callback<TxnResult> done) {
  pb::TxnRequest request;
  for (const auto& compare : txn.compares) fill(*request.add_compare(), compare, prefix_);
  for (const auto& operation : txn.operations) fill(*request.add_success(), operation, prefix_);
  call<pb::TxnResponse, TxnResult>(
      Repeat::never, limit,
      [request](Endpoint& endpoint, auto* context, auto* queue) {
        return endpoint.kv->PrepareAsyncTxn(context, request, queue);
      },
      [](const Answer<pb::TxnResponse>& answer) -> Result<TxnResult> {
        return TxnResult{answer.body.succeeded(), answer.body.header().revision()};
      },
      std::move(done));
}

void Etcd::grant_lease(std::chrono::seconds ttl, std::chrono::milliseconds limit,
                       Callback<LeaseGrant> done) {
  pb::LeaseGrantRequest request;
  request.set_ttl(ttl.count());
  call<pb::LeaseGrantResponse, LeaseGrant>(
      Repeat::freely, limit,  // one granted twice runs out by itself
      [request](Endpoint& endpoint, auto* context, auto* queue) {
        return endpoint.lease->PrepareAsyncLeaseGrant(context, request, queue);
      },
      [](const Answer<pb::LeaseGrantResponse>& answer) -> Result<LeaseGrant> {
        if (!answer.body.error().empty()) {
          return fail(ErrorKind::refused, "etcd grants no lease: " + answer.body.error());
        }
        return LeaseGrant{answer.body.id(), std::chrono::seconds(answer.body.ttl()),
                          answer.sent_at};
      },
      std::move(done));
}

void Etcd::revoke_lease(std::int64_t id, std::chrono::milliseconds limit,
                        Callback<std::int64_t> done) {
  pb::LeaseRevokeRequest request;
  request.set_id(id);
  call<pb::LeaseRevokeResponse, std::int64_t>(
      Repeat::freely, limit,
      [request](Endpoint& endpoint, auto* context, auto* queue) {
        return endpoint.lease->PrepareAsyncLeaseRevoke(context, request, queue);
      },
      [id](const Answer<pb::LeaseRevokeResponse>&) -> Result<std::int64_t> { return id; },
      std::move(done));
}

void Etcd::lease_remaining(std::int64_t id, std::chrono::milliseconds limit,
                           Callback<LeaseRemaining> done) {
  pb::LeaseTimeToLiveRequest request;
  request.set_id(id);
  call<pb::LeaseTimeToLiveResponse, LeaseRemaining>(
      Repeat::freely, limit,
      [request](Endpoint& endpoint, auto* context, auto* queue) {
        return endpoint.lease->PrepareAsyncLeaseTimeToLive(context, request, queue);
      },
      [id](const Answer<pb::LeaseTimeToLiveResponse>& answer) -> Result<LeaseRemaining> {
        const auto& body = answer.body;
        return LeaseRemaining{id,
                              body.ttl(),
                              body.grantedttl(),
                              body.header().raft_term(),
                              answer.sent_at,
                              answer.received_at};
      },
      std::move(done));
}

void Etcd::watch(std::function<void()> changed) {
  // One message on its way is enough: the read that it causes comes after all that went before.
  auto on_its_way = std::make_shared<std::atomic<bool>>(false);
  auto tell = [mailbox = mailbox_, changed = std::move(changed), on_its_way] {
    if (on_its_way->exchange(true)) return;
    mailbox->send([changed, on_its_way] {
      *on_its_way = false;
      changed();
    });
  };
  reactor_.post([this, tell] {
    watcher_ = std::make_unique<Watcher>(session_, tell);
    session_.on_failed = [this](std::size_t index) { watcher_->endpoint_failed(index); };
    watcher_->open();
  });
}

}  // namespace

std::unique_ptr<Dcs> make_etcd(Options options, Post post) {
  return std::make_unique<Etcd>(std::move(options), std::move(post));
}

}  // namespace pgsteady::dcs
