#include "http/client.h"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <memory>

namespace pgsteady::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using TimePoint = std::chrono::steady_clock::time_point;
using Endpoints = std::vector<tcp::endpoint>;

constexpr std::size_t kAnswerLimitBytes = 1 << 20;

// A name is looked up on the resolver's own thread, which cannot be interrupted: so the answer is
// waited for until the deadline, and a late one is thrown away.
struct Lookup {
  explicit Lookup(const asio::any_io_executor& executor) : resolver(executor), done(executor) {}
  tcp::resolver resolver;
  asio::steady_timer done;
  error_code error = asio::error::timed_out;
  Endpoints endpoints;
};

asio::awaitable<Result<Endpoints>> look_up(HostPort host, TimePoint deadline) {
  error_code error;
  auto address = asio::ip::make_address(host.host, error);
  if (!error) co_return Endpoints{{address, host.port}};
  auto lookup = std::make_shared<Lookup>(co_await asio::this_coro::executor);
  lookup->done.expires_at(deadline);
  lookup->resolver.async_resolve(
      host.host, std::to_string(host.port),
      [lookup](error_code failed, const tcp::resolver::results_type& found) {
        lookup->error = failed;
        for (const auto& entry : found) {
          lookup->endpoints.push_back(entry.endpoint());
        }
        lookup->done.cancel();
      });
  co_await lookup->done.async_wait(asio::redirect_error(asio::use_awaitable, error));
  if (lookup->error) {
    co_return fail(ErrorKind::retry, fmt::format("{}: {}", host.host, lookup->error.message()));
  }
  co_return lookup->endpoints;
}

Response plain_response(beast::http::response<beast::http::string_body> message) {
  Response response;
  response.status = static_cast<int>(message.result_int());
  response.content_type = std::string(message[beast::http::field::content_type]);
  for (const auto& field : message) {
    response.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  response.body = std::move(message.body());
  return response;
}

asio::awaitable<Result<Response>> ask(HostPort host, Call call, TimePoint deadline) {
  auto endpoints = co_await look_up(host, deadline);
  if (!endpoints) co_return tl::unexpected(endpoints.error());
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  stream.expires_at(deadline);
  co_await stream.async_connect(*endpoints, token);
  if (error) co_return fail(ErrorKind::retry, error.message());

  beast::http::request<beast::http::string_body> request;
  request.version(11);
  request.method_string(call.method);
  request.target(call.target);
  bool v6 = host.host.find(':') != std::string::npos;
  request.set(beast::http::field::host, v6 ? fmt::format("[{}]:{}", host.host, host.port)
                                           : fmt::format("{}:{}", host.host, host.port));
  request.set(beast::http::field::user_agent, "pgsteady");
  request.keep_alive(false);
  if (!call.authorization.empty()) {
    request.set(beast::http::field::authorization, call.authorization);
  }
  if (!call.body.empty()) request.set(beast::http::field::content_type, "application/json");
  request.body() = std::move(call.body);
  request.prepare_payload();
  co_await beast::http::async_write(stream, request, token);
  if (error) co_return fail(ErrorKind::retry, error.message());

  beast::flat_buffer buffer;
  beast::http::response_parser<beast::http::string_body> parser;
  parser.body_limit(kAnswerLimitBytes);
  co_await beast::http::async_read(stream, buffer, parser, token);
  if (error) co_return fail(ErrorKind::retry, error.message());
  co_return plain_response(parser.release());
}

}  // namespace

asio::awaitable<Result<Response>> send(HostPort host, Call call, std::chrono::milliseconds limit) {
  auto name = fmt::format("{} {}:{}{}", call.method, host.host, host.port, call.target);
  Error error;
  try {
    auto response = co_await ask(host, std::move(call), std::chrono::steady_clock::now() + limit);
    if (response) co_return response;
    error = response.error();
  } catch (const std::exception& thrown) {
    error.message = thrown.what();
  }
  co_return fail(ErrorKind::retry, fmt::format("{}: {}", name, error.message));
}

asio::awaitable<Result<Response>> get(HostPort host, std::string target,
                                      std::chrono::milliseconds limit) {
  Call call;
  call.target = std::move(target);
  co_return co_await send(std::move(host), std::move(call), limit);
}

asio::awaitable<Result<Response>> post(HostPort host, std::string target, std::string body,
                                       std::chrono::milliseconds limit) {
  Call call;
  call.method = "POST";
  call.target = std::move(target);
  call.body = std::move(body);
  co_return co_await send(std::move(host), std::move(call), limit);
}

}  // namespace pgsteady::http
