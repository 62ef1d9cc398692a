#include "harness/http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace pgsteady::testing {
namespace {

int left_ms(Clock::time_point deadline) {
  auto left = std::chrono::duration_cast<Millis>(deadline - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
}

bool wait_for(int fd, short events, Clock::time_point deadline) {
  pollfd p{fd, events, 0};
  return poll(&p, 1, left_ms(deadline)) > 0;
}

constexpr const char* kLoopback = "127.0.0.1";

int connected_socket(const std::string& host, int port, Clock::time_point deadline) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return -1;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  int error = errno;
  socklen_t size = sizeof error;
  if (error == EINPROGRESS && wait_for(fd, POLLOUT, deadline)) {
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return fd;
  }
  close(fd);
  return -1;
}

}  // namespace

std::string send_raw(const std::string& host, int port, const std::string& bytes, Millis limit) {
  const auto deadline = Clock::now() + limit;
  int fd = connected_socket(host, port, deadline);
  if (fd < 0) return {};
  std::size_t sent = 0;
  while (sent < bytes.size() && wait_for(fd, POLLOUT, deadline)) {
    ssize_t n = send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) break;
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  std::string answer;
  char buffer[4096];
  while (wait_for(fd, POLLIN, deadline)) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) break;
    if (n > 0) answer.append(buffer, static_cast<std::size_t>(n));
  }
  close(fd);
  return answer;
}

std::string send_raw(int port, const std::string& bytes, Millis limit) {
  return send_raw(kLoopback, port, bytes, limit);
}

namespace {

std::optional<HttpReply> ask(const std::string& host, int port, const std::string& first_line,
                             const std::string& rest, Millis limit) {
  auto answer = send_raw(
      host, port,
      first_line + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: */*\r\nConnection: close\r\n" + rest,
      limit);
  auto end = answer.find("\r\n\r\n");
  if (end == std::string::npos || answer.compare(0, 7, "HTTP/1.") != 0) return std::nullopt;
  HttpReply reply;
  reply.status = std::atoi(answer.c_str() + 9);
  reply.head = answer.substr(0, end);
  reply.body = answer.substr(end + 4);
  return reply;
}

}  // namespace

std::optional<HttpReply> http_get(const std::string& host, int port, const std::string& path,
                                  Millis limit) {
  return ask(host, port, "GET " + path, "\r\n", limit);
}

std::optional<HttpReply> http_get(int port, const std::string& path, Millis limit) {
  return http_get(kLoopback, port, path, limit);
}

std::optional<HttpReply> http_send(const std::string& host, int port, const std::string& method,
                                   const std::string& path, const std::string& body, Millis limit) {
  return ask(host, port, method + " " + path,
             "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + body,
             limit);
}

}  // namespace pgsteady::testing
