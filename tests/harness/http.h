// A blocking HTTP/1.1 client for tests: one request, one connection, a deadline.
#pragma once

#include <optional>
#include <string>

#include "harness/process.h"

namespace pgsteady::testing {

struct HttpReply {
  int status = 0;
  std::string head, body;
};

// nullopt when there was no complete answer from there within the limit; without a host it is
// 127.0.0.1.
std::optional<HttpReply> http_get(const std::string& host, int port, const std::string& path,
                                  Millis limit = Millis(1000));
std::optional<HttpReply> http_get(int port, const std::string& path, Millis limit = Millis(1000));

// Any method, with a body.
std::optional<HttpReply> http_send(const std::string& host, int port, const std::string& method,
                                   const std::string& path, const std::string& body, Millis limit);

// Sends the bytes as they are and reads until the other side closes or the limit has passed.
std::string send_raw(const std::string& host, int port, const std::string& bytes, Millis limit);
std::string send_raw(int port, const std::string& bytes, Millis limit);

}  // namespace pgsteady::testing
