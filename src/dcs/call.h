// One request to the cluster, in as many attempts over its endpoints as its deadline allows.
#pragma once

#include <fmt/format.h>
#include <memory>

#include "dcs/session.h"

namespace pgsteady::dcs {

// Whether a request may be sent again after one that may have been carried out.
enum class Repeat { freely, never };

// The part that needs no types: when to try, where, and what a failure comes to.
class CallBase {
 public:
  virtual ~CallBase() = default;

 protected:
  CallBase(Session& session, Repeat repeat, bool with_token, std::chrono::nanoseconds limit);

  // Starts an attempt at the right moment; ends in give_up() when there is none.
  void attempt(std::shared_ptr<CallBase> self);
  void attempt_failed(const std::shared_ptr<CallBase>& self, std::size_t index,
                      const std::string& token, const grpc::Status& status);
  void stale_answer(const std::shared_ptr<CallBase>& self, std::size_t index);

  virtual void send(std::size_t index, std::chrono::nanoseconds left) = 0;
  virtual void finish_with(Error error) = 0;  // once; cancels what is under way

  Session& session_;
  const bool with_token_;
  bool finished_ = false;
  Reactor::TimerId timer_{};

 private:
  std::chrono::nanoseconds left() const { return deadline_ - boottime_now(); }
  void attempt_with_new_token(const std::shared_ptr<CallBase>& self);
  void attempt_later(const std::shared_ptr<CallBase>& self, std::chrono::nanoseconds delay);
  void send_to(const std::shared_ptr<CallBase>& self, std::size_t index);
  void next_attempt(const std::shared_ptr<CallBase>& self, std::size_t index);
  void give_up();

  const Repeat repeat_;
  const std::chrono::nanoseconds began_, deadline_;
  std::size_t attempts_ = 0;
  std::size_t newest_ = 0;  // endpoint of the newest attempt
  std::size_t bad_certificates_ = 0;
  bool authenticated_again_ = false;
  std::string last_failure_ = "no connection";
};

template <typename Response>
struct Answer {
  Response body;
  std::chrono::nanoseconds sent_at{}, received_at{};
};

template <typename Response>
class Call : public CallBase {
 public:
  using Prepare = std::function<typename Unary<Response>::Reader(Endpoint&, grpc::ClientContext*,
                                                                 grpc::CompletionQueue*)>;
  using Done = std::function<void(Result<Answer<Response>>)>;

  static void start(Session& session, Repeat repeat, bool with_token,
                    std::chrono::nanoseconds limit, Prepare prepare, Done done) {
    std::shared_ptr<Call> call(new Call(session, repeat, with_token, limit));
    call->prepare_ = std::move(prepare);
    call->done_ = std::move(done);
    call->self_ = call;
    call->attempt(call);
  }

 private:
  Call(Session& session, Repeat repeat, bool with_token, std::chrono::nanoseconds limit)
      : CallBase(session, repeat, with_token, limit) {}

  void send(std::size_t index, std::chrono::nanoseconds left) override {
    auto self = self_.lock();
    auto token = with_token_ ? session_.token() : std::string();
    auto& endpoint = session_.endpoint(index);
    auto slot = attempts_.size();
    attempts_.push_back(Unary<Response>::start(
        session_.reactor(), left, token,
        [this, &endpoint](auto* context, auto* queue) {
          return prepare_(endpoint, context, queue);
        },
        [this, self, index, token, slot](const grpc::Status& status, Response& response) {
          answered(self, slot, index, token, status, response);
        }));
  }

  void answered(const std::shared_ptr<Call>& self, std::size_t slot, std::size_t index,
                const std::string& token, const grpc::Status& status, Response& response) {
    if (finished_) return;
    if (!status.ok()) return attempt_failed(self, index, token, status);
    if (!session_.accept(index, response.header())) return stale_answer(self, index);
    Answer<Response> answer{std::move(response), attempts_[slot]->sent_at, boottime_now()};
    finish(std::move(answer));
  }

  void finish_with(Error error) override { finish(tl::unexpected(std::move(error))); }

  void finish(Result<Answer<Response>> result) {
    finished_ = true;
    session_.reactor().cancel(timer_);
    for (auto& attempt : attempts_) attempt->cancel();
    attempts_.clear();
    auto done = std::move(done_);
    done(std::move(result));
  }

  Prepare prepare_;
  Done done_;
  std::weak_ptr<Call> self_;
  std::vector<std::shared_ptr<Unary<Response>>> attempts_;
};

}  // namespace pgsteady::dcs
