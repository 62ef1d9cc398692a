// The endpoints of one etcd cluster: which one is in use, how far its terms have come, and who we
// are to it. Lives on a Reactor's thread; the loop's Dcs and the renewer have one each.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dcs/endpoint.h"
#include "dcs/reactor.h"

namespace pgsteady::dcs {

class Session {
 public:
  Session(Reactor& reactor, Options options);

  Reactor& reactor() { return reactor_; }
  const Options& options() const { return options_; }
  const std::optional<Error>& broken() const { return broken_; }  // its TLS files cannot be read

  std::size_t size() const { return endpoints_.size(); }
  Endpoint& endpoint(std::size_t index) { return endpoints_[index]; }
  std::size_t current() const { return current_; }
  std::size_t next(std::size_t index) const { return (index + 1) % endpoints_.size(); }
  // An endpoint with a connection, the current one preferred; has them connect otherwise.
  std::optional<std::size_t> ready(bool try_all);

  // False when the answer is of an older term than one already seen: its sender has been left
  // behind.
  bool accept(std::size_t index, const pb::ResponseHeader& header);
  void failed(std::size_t index);              // moves on when it is the current one
  std::function<void(std::size_t)> on_failed;  // told after moving on; may be empty
  std::string names() const;                   // of all endpoints, for messages

  bool wants_token() const { return !options_.username.empty() && token_.empty() && !no_auth_; }
  const std::string& token() const { return token_; }
  void forget_token(const std::string& used);  // unless there is a newer one by now
  // Fetches a token; callers that come meanwhile share the answer. refused: wrong user or password.
  void authenticate(std::chrono::nanoseconds limit, std::function<void(Result<bool>)> done);

 private:
  void authenticated(Result<bool> result);

  Reactor& reactor_;
  Options options_;
  std::optional<Error> broken_;
  std::vector<Endpoint> endpoints_;
  std::size_t current_ = 0;
  std::uint64_t cluster_ = 0;
  std::uint64_t term_ = 0;
  std::string token_;
  std::chrono::nanoseconds pushed_at_{};
  bool no_auth_ = false;  // etcd says that authentication is switched off
  std::vector<std::function<void(Result<bool>)>> waiting_for_token_;
};

}  // namespace pgsteady::dcs
