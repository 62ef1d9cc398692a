// Asking a peer, in a coroutine: one request over a connection of its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <string>

#include "base/error.h"
#include "cluster/member.h"
#include "http/message.h"

namespace pgsteady::http {

// `host` may be a name or an address. Any status is an answer; errors are retry: not reached, no
// HTTP, more than 1 MiB, or not done within `limit` (which bounds all of it: name, connect,
// answer).
struct Call {
  std::string method = "GET";
  std::string target;
  std::string body = {};           // JSON; empty: none
  std::string authorization = {};  // as of basic_authorization(); empty: none
};
boost::asio::awaitable<Result<Response>> send(HostPort host, Call call,
                                              std::chrono::milliseconds limit);
boost::asio::awaitable<Result<Response>> get(HostPort host, std::string target,
                                             std::chrono::milliseconds limit);

// The same with a JSON body.
boost::asio::awaitable<Result<Response>> post(HostPort host, std::string target, std::string body,
                                              std::chrono::milliseconds limit);

}  // namespace pgsteady::http
