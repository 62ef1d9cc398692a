#include "http/server.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <optional>
#include <thread>

#include "base/log.h"

namespace pgsteady::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using BeastRequest = beast::http::request<beast::http::string_body>;
using BeastResponse = beast::http::response<beast::http::string_body>;
using Parser = beast::http::request_parser<beast::http::string_body>;

constexpr const char* kPlain = "text/plain";

// Helper programs of this process must not inherit our sockets.
void close_on_exec(int descriptor) {
  ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

struct Shared {
  ServerOptions options;
  DeferringHandler handler;
  std::size_t connections = 0;
};

Request plain_request(const BeastRequest& message) {
  Request request;
  request.method = std::string(message.method_string());
  request.body = message.body();
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    request.headers.try_emplace(name, std::string(field.value()));
  }
  return request;
}

// A response that may be on its way: `arrived` is cut short by it.
struct Pending {
  explicit Pending(const asio::any_io_executor& executor) : arrived(executor) {}
  asio::steady_timer arrived;
  std::optional<Response> response;
};

// In two steps, as the answer may come from any thread.
void deliver(const std::shared_ptr<Pending>& pending, Response response) {
  asio::post(pending->arrived.get_executor(), [pending, response = std::move(response)]() mutable {
    if (pending->response) return;
    pending->response = std::move(response);
    pending->arrived.cancel();
  });
}

asio::awaitable<Response> answer(Shared& shared, const BeastRequest& message) {
  auto request = plain_request(message);
  if (!parse_target(message.target(), request)) co_return Response{400, "bad target\n", kPlain, {}};
  auto pending = std::make_shared<Pending>(co_await asio::this_coro::executor);
  pending->arrived.expires_after(shared.options.answer_limit);
  try {
    shared.handler(request,
                   [pending](Response response) { deliver(pending, std::move(response)); });
  } catch (const std::exception& error) {
    log_error("http: {} {}: {}", request.method, request.path, error.what());
    co_return Response{500, "internal error\n", kPlain, {}};
  }
  error_code ignored;
  co_await pending->arrived.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  if (!pending->response) co_return Response{503, "no answer in time\n", kPlain, {}};
  co_return std::move(*pending->response);
}

BeastResponse beast_response(Response response, unsigned version, bool keep_alive) {
  BeastResponse message(static_cast<beast::http::status>(response.status), version);
  message.set(beast::http::field::server, "pgsteady");
  if (!response.content_type.empty()) {
    message.set(beast::http::field::content_type, response.content_type);
  }
  for (const auto& [name, value] : response.headers) message.set(name, value);
  message.body() = std::move(response.body);
  message.keep_alive(keep_alive);
  message.prepare_payload();
  return message;
}

// HEAD is answered with the head alone, which keeps the length that GET would have.
asio::awaitable<error_code> write(beast::tcp_stream& stream, BeastResponse message, bool head) {
  error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  beast::http::response_serializer<beast::http::string_body> serializer(message);
  if (head) {
    co_await beast::http::async_write_header(stream, serializer, token);
  } else {
    co_await beast::http::async_write(stream, serializer, token);
  }
  co_return error;
}

int status_of(const error_code& error) {
  if (error == beast::http::error::body_limit) return 413;
  if (error == beast::http::error::header_limit) return 431;
  bool malformed = error.category() == make_error_code(beast::http::error::bad_target).category() &&
                   error != beast::http::error::end_of_stream &&
                   error != beast::http::error::partial_message;
  return malformed ? 400 : 0;
}

// The time to the first byte is idle time; once a request has begun, it must arrive soon.
asio::awaitable<error_code> read(beast::tcp_stream& stream, beast::flat_buffer& buffer,
                                 Parser& parser, const ServerOptions& options) {
  error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  if (buffer.size() == 0) {
    stream.expires_after(options.idle_limit);
    auto room = buffer.prepare(1024);
    auto count = co_await stream.async_read_some(room, token);
    buffer.commit(count);
    if (error) co_return error;
  }
  stream.expires_after(options.io_limit);
  co_await beast::http::async_read(stream, buffer, parser, token);
  co_return error;
}

asio::awaitable<void> converse(beast::tcp_stream& stream, Shared& shared) {
  beast::flat_buffer buffer(shared.options.header_limit_bytes + shared.options.body_limit_bytes);
  for (;;) {
    Parser parser;
    parser.header_limit(static_cast<std::uint32_t>(shared.options.header_limit_bytes));
    parser.body_limit(shared.options.body_limit_bytes);
    auto error = co_await read(stream, buffer, parser, shared.options);
    if (error) {
      auto status = status_of(error);
      if (status == 0) co_return;
      stream.expires_after(shared.options.io_limit);
      Response refusal{status, error.message() + "\n", "text/plain", {}};
      co_await write(stream, beast_response(std::move(refusal), 11, false), false);
      co_return;
    }
    const auto& message = parser.get();
    bool keep_alive = message.keep_alive();
    stream.expires_never();
    auto response = co_await answer(shared, message);
    stream.expires_after(shared.options.io_limit);
    auto head = message.method() == beast::http::verb::head;
    auto failed = co_await write(
        stream, beast_response(std::move(response), message.version(), keep_alive), head);
    if (failed || !keep_alive) co_return;
  }
}

asio::awaitable<void> serve_connection(tcp::socket socket, std::shared_ptr<Shared> shared) {
  ++shared->connections;
  beast::tcp_stream stream(std::move(socket));
  try {
    co_await converse(stream, *shared);
  } catch (const std::exception& error) {
    log_debug("http: connection ended: {}", error.what());
  }
  error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream.close();
  --shared->connections;
}

asio::awaitable<void> accept_forever(tcp::acceptor& acceptor, std::shared_ptr<Shared> shared) {
  auto executor = co_await asio::this_coro::executor;
  asio::steady_timer pause(executor);
  for (;;) {
    error_code error;
    auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {  // out of descriptors: a moment later there may be some
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      continue;
    }
    close_on_exec(socket.native_handle());
    if (shared->connections >= shared->options.connection_limit) continue;
    asio::co_spawn(executor, serve_connection(std::move(socket), shared), asio::detached);
  }
}

class ServerImpl : public Server {
 public:
  ServerImpl(ServerOptions options, DeferringHandler handler)
      : shared_(std::make_shared<Shared>(Shared{std::move(options), std::move(handler)})) {}

  ~ServerImpl() override {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }

  // All addresses that the name stands for; at least one must work.
  error_code listen() {
    error_code error = asio::error::host_not_found;
    for (const auto& endpoint : endpoints(error)) {
      auto failed = listen_on(endpoint);
      if (failed && acceptors_.empty()) error = failed;
      if (failed && !acceptors_.empty() && failed == asio::error::address_in_use) continue;
    }
    return acceptors_.empty() ? error : error_code();
  }

  void start() {
    for (auto& acceptor : acceptors_) {
      asio::co_spawn(context_, accept_forever(acceptor, shared_), asio::detached);
    }
    thread_ = std::thread([this] { context_.run(); });
  }

  std::uint16_t port() const override { return acceptors_.front().local_endpoint().port(); }

 private:
  std::vector<tcp::endpoint> endpoints(error_code& error) {
    const auto& options = shared_->options;
    if (options.host == "*" || options.host.empty()) {
      return {{tcp::v6(), options.port}, {tcp::v4(), options.port}};
    }
    auto found = tcp::resolver(context_).resolve(options.host, std::to_string(options.port), error);
    std::vector<tcp::endpoint> result;
    for (const auto& entry : found) result.push_back(entry.endpoint());
    return result;
  }

  error_code listen_on(tcp::endpoint endpoint) {
    if (!acceptors_.empty()) endpoint.port(port());
    error_code error;
    tcp::acceptor acceptor(context_);
    acceptor.open(endpoint.protocol(), error);
    if (error) return error;
    close_on_exec(acceptor.native_handle());
    acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (endpoint.protocol() == tcp::v6())
      acceptor.set_option(boost::asio::ip::v6_only(true), error);
    acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(128, error);
    if (!error) acceptors_.push_back(std::move(acceptor));
    return error;
  }

  asio::io_context context_{1};
  std::shared_ptr<Shared> shared_;
  std::list<tcp::acceptor> acceptors_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Server>> serve(ServerOptions options, Handler handler) {
  DeferringHandler at_once = [handler = std::move(handler)](const Request& request,
                                                            const Answer& answer) {
    answer(handler(request));
  };
  return serve(std::move(options), std::move(at_once));
}

Result<std::unique_ptr<Server>> serve(ServerOptions options, DeferringHandler handler) {
  auto address = fmt::format("{}:{}", options.host, options.port);
  try {
    auto server = std::make_unique<ServerImpl>(std::move(options), std::move(handler));
    if (auto error = server->listen()) {
      return fail(ErrorKind::refused,
                  fmt::format("cannot listen on {}: {}", address, error.message()),
                  "is another process using the port, and is the address one of this machine's?");
    }
    server->start();
    return server;
  } catch (const std::exception& error) {
    return fail(ErrorKind::refused, fmt::format("cannot listen on {}: {}", address, error.what()));
  }
}

}  // namespace pgsteady::http
