// One etcd member as gRPC reaches it, and the single call on it. The only place that knows channel
// arguments, TLS files and how gRPC's failures read.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>
#include <memory>
#include <string>

#include "base/clock.h"
#include "dcs/dcs.h"
#include "dcs/reactor.h"
#include "etcd.grpc.pb.h"

namespace pgsteady::dcs {

namespace pb = etcdserverpb;

struct Endpoint {
  std::string address;  // as configured
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::KV::Stub> kv;
  std::unique_ptr<pb::Watch::Stub> watch;
  std::unique_ptr<pb::Lease::Stub> lease;
  std::unique_ptr<pb::Auth::Stub> auth;
};

// refused when a TLS file cannot be read.
Result<std::shared_ptr<grpc::ChannelCredentials>> credentials(const Options& options);
// Connects when it is first used; shares no connection with any other Endpoint.
Endpoint make_endpoint(const std::string& address,
                       const std::shared_ptr<grpc::ChannelCredentials>& credentials);
// gRPC's back-off of a name that did not resolve grows to two minutes: ask it to try now.
void retry_connecting(Endpoint& endpoint);

// What a failed call means for the one who made it.
enum class Failure {
  unreachable,      // this endpoint is of no use now
  bad_certificate,  // unreachable, because one side did not accept the other's certificate
  stale_token,      // authenticate again
  refused,
  not_found,
};
Failure classify(const grpc::Status& status);

void add_token(grpc::ClientContext& context, const std::string& token);

// One request and its answer. Lives until the answer has come; cancel() makes that soon. `done` is
// run once on the reactor's thread, not at all after cancel(). The limit is the reactor's timer:
// a deadline of gRPC's own would wake up two more threads for each request, answered or not.
template <typename Response>
class Unary : public std::enable_shared_from_this<Unary<Response>> {
 public:
  using Done = std::function<void(const grpc::Status&, Response&)>;
  using Reader = std::unique_ptr<grpc::ClientAsyncResponseReader<Response>>;
  using Prepare = std::function<Reader(grpc::ClientContext*, grpc::CompletionQueue*)>;

  static std::shared_ptr<Unary> start(Reactor& reactor, std::chrono::nanoseconds limit,
                                      const std::string& token, const Prepare& prepare, Done done) {
    std::shared_ptr<Unary> call(new Unary(reactor, std::move(done)));
    add_token(call->context_, token);
    reactor.add(&call->context_);
    call->reader_ = prepare(&call->context_, reactor.queue());
    call->sent_at = boottime_now();
    call->reader_->StartCall();
    call->reader_->Finish(&call->response_, &call->status_,
                          reactor.tag([call](bool) { call->finished(); }));
    call->timer_ = reactor.after(limit, [raw = call.get()] { raw->give_up(); });
    return call;
  }
  ~Unary() { reactor_.remove(&context_); }

  void cancel() {
    done_ = nullptr;
    context_.TryCancel();
  }

  std::chrono::nanoseconds sent_at{};  // boottime

 private:
  Unary(Reactor& reactor, Done done) : reactor_(reactor), done_(std::move(done)) {}
  void give_up() {
    late_ = true;
    context_.TryCancel();
  }

  void finished() {
    reactor_.cancel(timer_);
    if (late_ && status_.error_code() == grpc::StatusCode::CANCELLED) {
      status_ = {grpc::StatusCode::DEADLINE_EXCEEDED, "no answer in time"};
    }
    auto done = std::move(done_);
    done_ = nullptr;
    if (done) done(status_, response_);
  }

  Reactor& reactor_;
  grpc::ClientContext context_;
  Response response_;
  grpc::Status status_;
  Reader reader_;
  Done done_;
  Reactor::TimerId timer_{};
  bool late_ = false;
};

}  // namespace pgsteady::dcs
