#include "dcs/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <fstream>
#include <iterator>
#include <mutex>

#include "base/log.h"
#include "base/text.h"

namespace pgsteady::dcs {
namespace {

// gRPC writes to stderr by itself; what it says there is only of use when looking for a fault.
void quiet_grpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    gpr_set_log_function([](gpr_log_func_args* line) { log_debug("grpc: {}", line->message); });
  });
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  // Every Endpoint connects for itself: a stuck connection of the loop's is none of the renewal's.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Far below any ttl; the defaults are 1 s, 120 s and 20 s.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);  // how long one attempt may take
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  // etcd ends a connection that pings more often than every 5 s or pings without a stream.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5500);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 2000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // 0: as many as there are
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Straight to the endpoint: no proxy from the environment, no TXT records, no retries but ours.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Kept small: the agent stands beside every server.
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  arguments.SetInt(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
  arguments.SetMaxReceiveMessageSize(16 << 20);
  return arguments;
}

// "ipv4:", "ipv6:" or "dns:" before the address, so that a numeric one never goes to a resolver.
std::string target(const std::string& address) {
  auto host = address.substr(0, address.rfind(':'));
  in_addr numeric{};
  if (inet_pton(AF_INET, host.c_str(), &numeric) == 1) return "ipv4:" + address;
  if (host.starts_with('[')) return "ipv6:" + address;
  return "dns:///" + address;
}

Result<std::string> file_text(const std::string& path, const char* what) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file || text.empty()) {
    return fail(ErrorKind::refused, fmt::format("cannot read etcd's {} in {}", what, path),
                "check that the file exists and that this user may read it");
  }
  return text;
}

}  // namespace

Result<std::shared_ptr<grpc::ChannelCredentials>> credentials(const Options& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  auto ca = file_text(options.ca_file, "CA certificate");
  if (!ca) return tl::unexpected(ca.error());
  auto certificate = file_text(options.cert_file, "client certificate");
  if (!certificate) return tl::unexpected(certificate.error());
  auto key = file_text(options.key_file, "client key");
  if (!key) return tl::unexpected(key.error());
  return grpc::SslCredentials({*ca, *key, *certificate});
}

Endpoint make_endpoint(const std::string& address,
                       const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  quiet_grpc();
  Endpoint endpoint;
  endpoint.address = address;
  endpoint.channel = grpc::CreateCustomChannel(target(address), credentials, channel_arguments());
  endpoint.kv = pb::KV::NewStub(endpoint.channel);
  endpoint.watch = pb::Watch::NewStub(endpoint.channel);
  endpoint.lease = pb::Lease::NewStub(endpoint.channel);
  endpoint.auth = pb::Auth::NewStub(endpoint.channel);
  return endpoint;
}

void retry_connecting(Endpoint& endpoint) {
  if (endpoint.channel->GetState(true) != GRPC_CHANNEL_TRANSIENT_FAILURE) return;
  grpc::experimental::ChannelResetConnectionBackoff(endpoint.channel.get());
}

Failure classify(const grpc::Status& status) {
  const auto& text = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::UNAUTHENTICATED:
      return Failure::stale_token;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return contains(text, "user name is empty") || contains(text, "auth store is old")
                 ? Failure::stale_token
                 : Failure::refused;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::UNIMPLEMENTED:
      return Failure::refused;
    case grpc::StatusCode::NOT_FOUND:
      return Failure::not_found;
    case grpc::StatusCode::UNAVAILABLE:
      return contains(text, "CERTIFICATE_VERIFY_FAILED") ||
                     contains(text, "certificate verify failed") || contains(text, "tlsv1 alert") ||
                     contains(text, "sslv3 alert") || contains(text, "bad certificate")
                 ? Failure::bad_certificate
                 : Failure::unreachable;
    default:
      return Failure::unreachable;
  }
}

void add_token(grpc::ClientContext& context, const std::string& token) {
  if (!token.empty()) context.AddMetadata("token", token);
}

}  // namespace pgsteady::dcs
