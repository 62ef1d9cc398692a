#include "store/sigv4.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

namespace pgsteady::store {
namespace {

std::string digest(const EVP_MD* kind, std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> buffer{};
  unsigned size = 0;
  EVP_Digest(data.data(), data.size(), buffer.data(), &size, kind, nullptr);
  return {reinterpret_cast<const char*>(buffer.data()), size};
}

std::string hmac(std::string_view key, std::string_view data) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> buffer{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(data.data()), data.size(), buffer.data(), &size);
  return {reinterpret_cast<const char*>(buffer.data()), size};
}

std::string hex(std::string_view data) {
  std::string text;
  text.reserve(data.size() * 2);
  for (unsigned char c : data) fmt::format_to(std::back_inserter(text), "{:02x}", c);
  return text;
}

std::string signed_headers(const SignedRequest& request) {
  std::string names;
  for (const auto& [name, value] : request.headers) names += (names.empty() ? "" : ";") + name;
  return names;
}

std::string signing_key(const Scope& scope, const Credentials& credentials) {
  auto key = hmac("AWS4" + credentials.secret_key, scope.time.substr(0, 8));
  for (std::string_view part : {std::string_view(scope.region), std::string_view(scope.service),
                                std::string_view("aws4_request")}) {
    key = hmac(key, part);
  }
  return key;
}

}  // namespace

std::string sha256_hex(std::string_view data) {
  return hex(digest(EVP_sha256(), data));
}

std::string md5_base64(std::string_view data) {
  const auto sum = digest(EVP_md5(), data);
  std::array<unsigned char, 32> text{};
  const int size = EVP_EncodeBlock(text.data(), reinterpret_cast<const unsigned char*>(sum.data()),
                                   static_cast<int>(sum.size()));
  return {reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size)};
}

std::string uri_encode(std::string_view text, bool keep_slashes) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (char c : text) {
    if (kPlain.find(c) != std::string_view::npos || (c == '/' && keep_slashes)) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string encoded_query(const std::map<std::string, std::string>& query) {
  std::string out;
  for (const auto& [key, value] : query) {
    out += fmt::format("{}{}={}", out.empty() ? "" : "&", uri_encode(key, false),
                       uri_encode(value, false));
  }
  return out;
}

std::string canonical_request(const SignedRequest& request) {
  auto text = fmt::format("{}\n{}\n{}\n", request.method, uri_encode(request.path, true),
                          encoded_query(request.query));
  for (const auto& [name, value] : request.headers) text += fmt::format("{}:{}\n", name, value);
  return text + fmt::format("\n{}\n{}", signed_headers(request), request.payload_hash);
}

std::string authorization(const SignedRequest& request, const Scope& scope,
                          const Credentials& credentials) {
  const auto place =
      fmt::format("{}/{}/{}/aws4_request", scope.time.substr(0, 8), scope.region, scope.service);
  const auto to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", scope.time, place,
                                   sha256_hex(canonical_request(request)));
  return fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                     credentials.access_key, place, signed_headers(request),
                     hex(hmac(signing_key(scope, credentials), to_sign)));
}

}  // namespace pgsteady::store
