#include "http/session.h"

#include <fmt/format.h>
#include <openssl/ssl.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <optional>

namespace pgsteady::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace ssl = asio::ssl;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Body = beast::http::buffer_body;
using Parser = beast::http::response_parser<Body>;
using TlsStream = ssl::stream<beast::tcp_stream>;

constexpr std::size_t kSendBytes = 256 << 10;  // what one step limit is given for
constexpr std::uint32_t kHeadLimitBytes = 64 << 10;

tl::unexpected<Error> failed(const char* what, const error_code& error) {
  return fail(ErrorKind::retry, fmt::format("cannot {}: {}", what, error.message()));
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return result;
}

std::string host_header(const Origin& origin) {
  const bool standard = origin.port == (origin.tls ? 443 : 80);
  const bool v6 = origin.host.find(':') != std::string::npos;
  auto host = v6 ? "[" + origin.host + "]" : origin.host;
  return standard ? host : fmt::format("{}:{}", host, origin.port);
}

auto keep(error_code& into) {
  return [&into](const error_code& error, std::size_t) { into = error; };
}

}  // namespace

class Session::Impl {
 public:
  explicit Impl(Origin origin) : origin_(std::move(origin)) {}

  Result<ResponseHead> begin(const ClientRequest& request) {
    if (parser_ && !parser_->is_done()) disconnect();
    if (parser_ && !parser_->get().keep_alive()) disconnect();
    parser_.reset();
    if (auto connected = connect(); !connected) return tl::unexpected(connected.error());
    if (auto sent = send(request); !sent) return tl::unexpected(sent.error());
    return receive_head(request.method == "HEAD");
  }

  Result<std::size_t> read(std::span<char> into) {
    if (!parser_ || parser_->is_done() || into.empty()) return 0;
    auto& body = parser_->get().body();
    body.data = into.data();
    body.size = into.size();
    error_code error;
    run([&](auto& stream) {
      beast::http::async_read_some(stream, buffer_, *parser_, keep(error));
    });
    if (error == beast::http::error::need_buffer) error = {};
    if (error) return give_up("read the answer", error);
    const auto count = into.size() - body.size;
    // Framing alone (a chunk's head) gives no bytes, and is no end.
    return count > 0 || parser_->is_done() ? Result<std::size_t>(count) : read(into);
  }

 private:
  // Starts one operation on the connection and waits for it, for a step limit.
  template <typename Operation>
  void run(Operation operation) {
    plain().expires_after(origin_.step_limit);
    if (tls_) {
      operation(*tls_);
    } else {
      operation(*plain_);
    }
    context_.restart();
    context_.run();
  }

  beast::tcp_stream& plain() { return tls_ ? tls_->next_layer() : *plain_; }

  void disconnect() {
    tls_.reset();
    plain_.reset();
    parser_.reset();
    buffer_.clear();
  }

  tl::unexpected<Error> give_up(const char* what, const error_code& error) {
    disconnect();
    return failed(what, error);
  }

  Result<std::vector<tcp::endpoint>> look_up() {
    error_code error;
    const auto address = asio::ip::make_address(origin_.host, error);
    if (!error) return std::vector<tcp::endpoint>{{address, origin_.port}};
    struct Found {
      error_code error = asio::error::timed_out;
      std::vector<tcp::endpoint> endpoints;
    };
    auto found = std::make_shared<Found>();  // a late answer finds it still there
    tcp::resolver resolver(context_);
    resolver.async_resolve(origin_.host, std::to_string(origin_.port),
                           [found](const error_code& e, const tcp::resolver::results_type& all) {
                             found->error = e;
                             for (const auto& one : all) {
                               found->endpoints.push_back(one.endpoint());
                             }
                           });
    context_.restart();
    context_.run_for(origin_.step_limit);
    if (!found->error) return found->endpoints;
    return failed(("look up " + origin_.host).c_str(), found->error);
  }

  Result<void> connect() {
    if (plain_ || tls_) return {};
    auto endpoints = look_up();
    if (!endpoints) return tl::unexpected(endpoints.error());
    if (auto made = make_stream(); !made) return made;
    error_code error;
    run([&](auto&) {
      plain().async_connect(*endpoints,
                            [&](const error_code& e, const tcp::endpoint&) { error = e; });
    });
    if (error) return give_up(("reach " + host_header(origin_)).c_str(), error);
    plain().socket().set_option(tcp::no_delay(true), error);
    return tls_ ? handshake() : Result<void>();
  }

  Result<void> make_stream() {
    if (!origin_.tls) {
      plain_.emplace(context_);
      return {};
    }
    if (auto ready = load_trust(); !ready) return ready;
    tls_.emplace(context_, *trust_);
    SSL_set_tlsext_host_name(tls_->native_handle(), origin_.host.c_str());
    tls_->set_verify_mode(ssl::verify_peer);
    tls_->set_verify_callback(ssl::host_name_verification(origin_.host));
    return {};
  }

  Result<void> load_trust() {
    if (trust_) return {};
    trust_.emplace(ssl::context::tls_client);
    error_code error;
    trust_->set_options(ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1, error);
    if (origin_.ca_file.empty()) {
      trust_->set_default_verify_paths(error);
    } else {
      trust_->load_verify_file(origin_.ca_file, error);
    }
    if (!error) return {};
    trust_.reset();
    return fail(ErrorKind::refused,
                fmt::format("cannot read the CA file {}: {}", origin_.ca_file, error.message()));
  }

  Result<void> handshake() {
    error_code error;
    tls_->next_layer().expires_after(origin_.step_limit);
    tls_->async_handshake(ssl::stream_base::client, [&](const error_code& e) { error = e; });
    context_.restart();
    context_.run();
    if (!error) return {};
    const bool untrusted = SSL_get_verify_result(tls_->native_handle()) != X509_V_OK;
    auto failure = give_up("speak TLS", error);
    if (!untrusted) return failure;
    return fail(ErrorKind::refused,
                fmt::format("{} has a certificate that is not trusted: {}", host_header(origin_),
                            error.message()),
                "name the CA that issued it");
  }

  Result<void> send(const ClientRequest& request) {
    beast::http::request<Body> message;
    message.method_string(request.method);
    message.target(request.target);
    message.version(11);
    message.set(beast::http::field::host, host_header(origin_));
    message.set(beast::http::field::user_agent, "pgsteady");
    for (const auto& [name, value] : request.headers) message.set(name, value);
    if (!request.body.empty() || request.method == "PUT" || request.method == "POST") {
      message.content_length(request.body.size());
    }
    beast::http::request_serializer<Body> serializer(message);
    return send_pieces(message, serializer, request.body);
  }

  Result<void> send_pieces(beast::http::request<Body>& message,
                           beast::http::request_serializer<Body>& serializer,
                           std::string_view left) {
    do {
      const auto piece = left.substr(0, kSendBytes);
      left.remove_prefix(piece.size());
      // Beast does not write through the pointer.
      message.body().data = piece.empty() ? nullptr : const_cast<char*>(piece.data());
      message.body().size = piece.size();
      message.body().more = !left.empty();
      error_code error;
      run([&](auto& stream) { beast::http::async_write(stream, serializer, keep(error)); });
      if (error == beast::http::error::need_buffer) error = {};
      if (error) return give_up("send the request", error);
    } while (!left.empty());
    return {};
  }

  Result<ResponseHead> receive_head(bool no_body) {
    parser_.emplace();
    parser_->header_limit(kHeadLimitBytes);
    parser_->body_limit(boost::none);
    parser_->skip(no_body);
    error_code error;
    run([&](auto& stream) {
      beast::http::async_read_header(stream, buffer_, *parser_, keep(error));
    });
    if (error) return give_up("read the answer", error);
    ResponseHead head;
    head.status = static_cast<int>(parser_->get().result_int());
    for (const auto& field : parser_->get()) {
      head.headers.try_emplace(lower(field.name_string()), std::string(field.value()));
    }
    return head;
  }

  const Origin origin_;
  asio::io_context context_{1};
  std::optional<ssl::context> trust_;
  std::optional<beast::tcp_stream> plain_;
  std::optional<TlsStream> tls_;
  beast::flat_buffer buffer_{1 << 20};
  std::optional<Parser> parser_;
};

Session::Session(Origin origin) : impl_(std::make_unique<Impl>(std::move(origin))) {}
Session::~Session() = default;

Result<ResponseHead> Session::begin(const ClientRequest& request) {
  try {
    return impl_->begin(request);
  } catch (const std::exception& error) {
    return fail(ErrorKind::retry, error.what());
  }
}

Result<std::size_t> Session::read(std::span<char> into) {
  try {
    return impl_->read(into);
  } catch (const std::exception& error) {
    return fail(ErrorKind::retry, error.what());
  }
}

Result<std::string> Session::read_all(std::size_t limit_bytes) {
  std::string text;
  char buffer[16384];
  for (;;) {
    auto count = read(buffer);
    if (!count) return tl::unexpected(count.error());
    if (*count == 0) return text;
    text.append(buffer, *count);
    if (text.size() > limit_bytes) {
      return fail(ErrorKind::retry, fmt::format("the answer is over {} bytes", limit_bytes));
    }
  }
}

}  // namespace pgsteady::http
