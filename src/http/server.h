// An HTTP/1.1 server with a thread of its own.
//
// The handler runs on that thread, one request at a time, and must not block. An exception in it
// becomes a 500. What takes longer is answered later, from any thread. Destroying the server closes
// its sockets and joins the thread; by then every Answer must have been called or let go.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "http/message.h"

namespace pgsteady::http {

struct ServerOptions {
  std::string host;                             // a name, an address, or "*" for all of them
  std::uint16_t port = 0;                       // 0: any free one
  std::chrono::milliseconds io_limit{5000};     // for a request to arrive, for an answer to leave
  std::chrono::milliseconds idle_limit{10000};  // between the requests of one connection
  std::chrono::milliseconds answer_limit{
      std::chrono::minutes(30)};  // for a handler that answers later; then a 503
  std::size_t header_limit_bytes = 8 << 10;
  std::size_t body_limit_bytes = 1 << 20;
  std::size_t connection_limit = 200;  // more are closed at once
};

using Handler = std::function<Response(const Request&)>;
using Answer = std::function<void(Response)>;  // any thread; only the first call counts
using DeferringHandler = std::function<void(const Request&, Answer)>;

class Server {
 public:
  virtual ~Server() = default;
  virtual std::uint16_t port() const = 0;  // the bound one
};

// Errors: refused, "cannot listen on HOST:PORT: why".
Result<std::unique_ptr<Server>> serve(ServerOptions options, Handler handler);
Result<std::unique_ptr<Server>> serve(ServerOptions options, DeferringHandler handler);

}  // namespace pgsteady::http
