// A client for one server over a connection that is kept, plain or TLS: large bodies go out of and
// into memory that the caller owns.
//
// Blocks its thread; one thread at a time. Every step (name, connect, handshake, each piece of a
// body) must end within the step limit, so that a peer that stalls costs that much and no more.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace pgsteady::http {

struct Origin {
  std::string host;  // a name or an address
  std::uint16_t port = 0;
  bool tls = false;
  std::string ca_file;  // PEM; empty: the system's
  std::chrono::milliseconds step_limit{15000};
};

struct ClientRequest {
  std::string method;
  std::string target;                                        // percent-encoded, with the query
  std::vector<std::pair<std::string, std::string>> headers;  // Host and Content-Length are added
  std::string_view body;                                     // must outlive begin()
};

struct ResponseHead {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
};

class Session {
 public:
  explicit Session(Origin origin);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Connects if need be, sends the request, waits for the answer's head. What was left of an
  // earlier answer's body ends its connection. Errors: retry; refused for a certificate that is not
  // trusted or a CA file that can't be read. After an error the next call connects anew.
  Result<ResponseHead> begin(const ClientRequest& request);
  // The next bytes of the body, 0 at its end. A body that is cut short is an error: retry.
  Result<std::size_t> read(std::span<char> into);
  // All that is left of the body. An error, retry, above the limit.
  Result<std::string> read_all(std::size_t limit_bytes);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteady::http
