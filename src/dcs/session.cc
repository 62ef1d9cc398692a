#include "dcs/session.h"

#include <fmt/ranges.h>

#include "base/log.h"
#include "dcs/call.h"

namespace pgsteady::dcs {
namespace {

constexpr std::chrono::seconds kBetweenPushes(1);

}  // namespace

Session::Session(Reactor& reactor, Options options)
    : reactor_(reactor), options_(std::move(options)) {
  auto secure = credentials(options_);
  if (!secure) {
    broken_ = secure.error();
    secure = grpc::InsecureChannelCredentials();  // for channels that nothing is ever sent on
  }
  for (const auto& address : options_.endpoints) {
    endpoints_.push_back(make_endpoint(address, *secure));
  }
  if (endpoints_.empty()) broken_ = Error{ErrorKind::refused, "no etcd endpoint is configured", {}};
}

std::optional<std::size_t> Session::ready(bool try_all) {
  auto index = current_;
  for (std::size_t i = 0; i < endpoints_.size(); ++i, index = next(index)) {
    bool connect = try_all || index == current_;
    if (endpoints_[index].channel->GetState(connect) == GRPC_CHANNEL_READY) return index;
  }
  return std::nullopt;
}

bool Session::accept(std::size_t index, const pb::ResponseHeader& header) {
  if (cluster_ != 0 && header.cluster_id() != cluster_) {
    log_warning("etcd at {} belongs to another cluster than before", endpoints_[index].address);
    term_ = 0;
  }
  cluster_ = header.cluster_id();
  if (header.raft_term() < term_) return false;
  term_ = header.raft_term();
  current_ = index;
  return true;
}

void Session::failed(std::size_t index) {
  auto now = boottime_now();
  if (now - pushed_at_ > kBetweenPushes) {
    pushed_at_ = now;
    for (auto& endpoint : endpoints_) retry_connecting(endpoint);
  }
  if (index == current_) current_ = next(index);
  if (on_failed) on_failed(index);
}

std::string Session::names() const {
  return fmt::format("{}", fmt::join(options_.endpoints, ", "));
}

void Session::forget_token(const std::string& used) {
  if (token_ != used) return;
  token_.clear();
  no_auth_ = false;
}

void Session::authenticate(std::chrono::nanoseconds limit, std::function<void(Result<bool>)> done) {
  waiting_for_token_.push_back(std::move(done));
  if (waiting_for_token_.size() > 1) return;
  pb::AuthenticateRequest request;
  request.set_name(options_.username);
  request.set_password(options_.password);
  Call<pb::AuthenticateResponse>::start(
      *this, Repeat::freely, false, limit,
      [request](Endpoint& endpoint, auto* context, auto* queue) {
        return endpoint.auth->PrepareAsyncAuthenticate(context, request, queue);
      },
      [this](Result<Answer<pb::AuthenticateResponse>> answer) {
        if (!answer) return authenticated(tl::unexpected(answer.error()));
        token_ = answer->body.token();
        authenticated(true);
      });
}

void Session::authenticated(Result<bool> result) {
  if (!result &&
      result.error().message.find("authentication is not enabled") != std::string::npos) {
    log_warning("etcd user {} is configured, but etcd's authentication is off", options_.username);
    no_auth_ = true;
    result = true;
  }
  auto waiting = std::move(waiting_for_token_);
  waiting_for_token_.clear();
  for (auto& done : waiting) done(result);
}

}  // namespace pgsteady::dcs
