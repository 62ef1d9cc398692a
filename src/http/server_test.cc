#include "http/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>
#include <thread>

#include "http/client.h"

namespace pgsteady::http {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

Response echo(const Request& request) {
  if (request.path == "/throw") throw std::runtime_error("on purpose");
  if (request.path == "/big") return {200, std::string(2 << 20, 'x'), "text/plain", {}};
  std::string text = request.method + " " + request.path;
  for (const auto& [key, value] : request.query)
    text.append(" ").append(key).append("=").append(value);
  return {request.path == "/503" ? 503 : 200, text, "text/plain", {{"X-Own", "1"}}};
}

std::unique_ptr<Server> start(ServerOptions options = {}) {
  options.host = "127.0.0.1";
  auto server = serve(options, echo);
  EXPECT_TRUE(server) << server.error().text();
  return std::move(*server);
}

int connected(std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count; (count = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// Sends raw bytes, returns all that comes until the server closes.
std::string raw(std::uint16_t port, const std::string& bytes, bool end = true) {
  int fd = connected(port);
  ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (end) ::shutdown(fd, SHUT_WR);
  auto answer = read_all(fd);
  ::close(fd);
  return answer;
}

boost::asio::awaitable<void> keep(std::optional<Result<Response>>& into, HostPort host,
                                  std::string target, std::chrono::milliseconds limit) {
  into = co_await get(std::move(host), std::move(target), limit);
}

Result<Response> fetch(HostPort host, const std::string& target,
                       std::chrono::milliseconds limit = 2s) {
  boost::asio::io_context context;
  std::optional<Result<Response>> result;
  boost::asio::co_spawn(context, keep(result, std::move(host), target, limit),
                        boost::asio::detached);
  context.run();
  return *result;
}

TEST(Server, AnAnswerMayComeLaterFromAnotherThreadOrNotAtAll) {
  std::vector<std::thread> threads;
  ServerOptions options;
  options.host = "127.0.0.1";
  options.answer_limit = 300ms;
  DeferringHandler handler = [&](const Request& request, const Answer& answer) {
    if (request.path == "/never") return;
    threads.emplace_back([answer] {
      std::this_thread::sleep_for(50ms);
      answer({202, "later", "text/plain", {}});
      answer({500, "twice", "text/plain", {}});
    });
  };
  auto server = serve(options, handler);
  ASSERT_TRUE(server);
  const std::string rest = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  EXPECT_THAT(raw((*server)->port(), "POST /later" + rest, false), HasSubstr("later"));
  EXPECT_THAT(raw((*server)->port(), "POST /never" + rest, false), StartsWith("HTTP/1.1 503"));
  for (auto& thread : threads) thread.join();
}

TEST(Target, SplitsAndDecodes) {
  Request request;
  EXPECT_TRUE(parse_target("/a%20b?lag=1%4DB&x&lag=2&y=p+q#z", request));
  EXPECT_EQ(request.path, "/a b");
  EXPECT_EQ(request.query,
            (std::map<std::string, std::string>{{"lag", "1MB"}, {"x", ""}, {"y", "p q"}}));
  for (const char* bad : {"", "a", "*", "/%", "/%zz", "/?a=%1"}) {
    Request other;
    EXPECT_FALSE(parse_target(bad, other)) << bad;
  }
}

TEST(Server, AnswersTheClient) {
  auto server = start();
  auto response = fetch({"127.0.0.1", server->port()}, "/x/y?lag=10MB");
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "GET /x/y lag=10MB");
  EXPECT_EQ(fetch({"localhost", server->port()}, "/503")->status, 503);
  EXPECT_EQ(fetch({"127.0.0.1", server->port()}, "/throw")->status, 500);
}

TEST(Server, KeepsConnectionsAndHeadHasNoBody) {
  auto server = start();
  auto text = raw(server->port(),
                  "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n"
                  "Connection: close\r\n\r\n");
  EXPECT_THAT(text, Not(HasSubstr("HEAD /a")));
  EXPECT_THAT(text, HasSubstr("\r\n\r\nHTTP/1.1 200 OK"));
  EXPECT_THAT(text, HasSubstr("GET /b"));
  EXPECT_THAT(raw(server->port(), "OPTIONS /a HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200 OK"));
}

TEST(Server, MalformedRequestsAreRefusedAndHurtNobody) {
  ServerOptions options;
  options.body_limit_bytes = 1000;
  auto server = start(options);
  auto port = server->port();
  EXPECT_THAT(raw(port, "\x01\x02\xff garbage\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(raw(port, "GET *bad HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(raw(port, "GET / HTTP/9.9\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(raw(port, "GET / HTTP/1.1\r\nX: " + std::string(20000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(raw(port, "POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(raw(port, "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(raw(port, "GET / HT"), "");
  EXPECT_EQ(raw(port, ""), "");
  std::string noise;
  for (unsigned i = 0, x = 7; i < 20000; ++i)
    noise += static_cast<char>((x = x * 1103515245 + 12345) >> 16);
  raw(port, noise);
  EXPECT_EQ(fetch({"127.0.0.1", port}, "/")->status, 200);
}

TEST(Server, SlowClientsAreCutOffAndDoNotHoldUpOthers) {
  ServerOptions options;
  options.io_limit = 200ms;
  options.idle_limit = 300ms;
  auto server = start(options);
  int slow = connected(server->port());
  ::send(slow, "GET / HT", 8, MSG_NOSIGNAL);
  EXPECT_EQ(fetch({"127.0.0.1", server->port()}, "/")->status, 200);
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(read_all(slow), "");
  EXPECT_EQ(raw(server->port(), "", false), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
  ::close(slow);
}

TEST(Server, ConnectionsAreLimited) {
  ServerOptions options;
  options.connection_limit = 2;
  auto server = start(options);
  int a = connected(server->port()), b = connected(server->port());
  ::send(a, "G", 1, 0);
  ::send(b, "G", 1, 0);
  EXPECT_FALSE(fetch({"127.0.0.1", server->port()}, "/"));
  ::close(a);
  ::close(b);
  Result<Response> response = fail(ErrorKind::retry, "");
  for (int i = 0; i < 50 && !response; ++i) response = fetch({"127.0.0.1", server->port()}, "/");
  EXPECT_TRUE(response);
}

TEST(Server, SaysWhyItCannotListen) {
  auto first = start();
  ServerOptions options;
  options.host = "127.0.0.1";
  options.port = first->port();
  auto second = serve(options, echo);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("cannot listen on 127.0.0.1:"));
  EXPECT_THAT(second.error().message, HasSubstr("in use"));
  options.host = "192.0.2.1";
  EXPECT_FALSE(serve(options, echo));
  options.host = "*";
  options.port = 0;
  EXPECT_TRUE(serve(options, echo));
}

TEST(Client, FailsWithinTheLimit) {
  auto server = start();
  auto port = server->port();
  server.reset();
  auto refused = fetch({"127.0.0.1", port}, "/");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("GET 127.0.0.1:"));

  int listener = ::socket(AF_INET, SOCK_STREAM, 0);  // accepts, never answers
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ::listen(listener, 4);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(fetch({"127.0.0.1", ntohs(address.sin_port)}, "/", 200ms));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  ::close(listener);
}

TEST(Client, TakesNoMoreThanItWasPromised) {
  auto server = start();
  EXPECT_FALSE(fetch({"127.0.0.1", server->port()}, "/big"));
}

}  // namespace
}  // namespace pgsteady::http
