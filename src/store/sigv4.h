// AWS's Signature Version 4 for one request. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace pgsteady::store {

struct Credentials {
  std::string access_key, secret_key;
  std::string session_token;  // empty unless they are temporary
};

struct SignedRequest {
  std::string method;
  std::string path;                            // not encoded: "/bucket/a key"
  std::map<std::string, std::string> query;    // not encoded
  std::map<std::string, std::string> headers;  // names in lower case; all of them are signed
  std::string payload_hash;                    // sha256_hex(body) or "UNSIGNED-PAYLOAD"
};

struct Scope {
  std::string time;  // "20130524T000000Z"
  std::string region;
  std::string service = "s3";
};

// The value of the Authorization header.
std::string authorization(const SignedRequest& request, const Scope& scope,
                          const Credentials& credentials);
std::string canonical_request(const SignedRequest& request);

// Percent-encoding as AWS wants it; slashes stay when `keep_slashes`.
std::string uri_encode(std::string_view text, bool keep_slashes);
std::string encoded_query(const std::map<std::string, std::string>& query);

std::string sha256_hex(std::string_view data);
std::string md5_base64(std::string_view data);

}  // namespace pgsteady::store
