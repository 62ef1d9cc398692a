#include "store/s3_client.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <pugixml.hpp>
#include <random>
#include <thread>

namespace pgsteady::store {
namespace {

constexpr std::size_t kAnswerLimitBytes = 4 << 20;  // a page of a listing is well below
constexpr std::size_t kIdleSessions = 16;
constexpr std::chrono::milliseconds kFirstPause{50}, kLongestPause{5000};

std::string amz_time() {
  return fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(std::time(nullptr)));
}

struct Meaning {
  const char* code;
  ErrorKind kind;
  const char* hint;
};
constexpr Meaning kMeanings[] = {
    {"NoSuchKey", ErrorKind::not_found, ""},
    {"NoSuchBucket", ErrorKind::refused, "create the bucket, or correct WALG_S3_PREFIX"},
    {"InvalidAccessKeyId", ErrorKind::refused, "check AWS_ACCESS_KEY_ID"},
    {"SignatureDoesNotMatch", ErrorKind::refused, "check AWS_SECRET_ACCESS_KEY and AWS_REGION"},
    {"AuthorizationHeaderMalformed", ErrorKind::refused, "check AWS_REGION"},
    {"PermanentRedirect", ErrorKind::refused, "check AWS_REGION and AWS_ENDPOINT"},
    {"RequestTimeTooSkewed", ErrorKind::refused, "set this machine's clock: it is off by minutes"},
    {"ExpiredToken", ErrorKind::refused, "renew AWS_SESSION_TOKEN and its keys"},
    {"InvalidToken", ErrorKind::refused, "renew AWS_SESSION_TOKEN and its keys"},
    {"AccessDenied", ErrorKind::refused,
     "the credentials need s3:ListBucket, GetObject, PutObject and DeleteObject here"},
    {"QuotaExceeded", ErrorKind::retry, "the bucket is full: make room or raise its quota"},
    {"BadDigest", ErrorKind::retry, "the body was changed on its way"},
    {"XAmzContentSHA256Mismatch", ErrorKind::retry, "the body was changed on its way"},
    {"RequestTimeout", ErrorKind::retry, ""},
    {"OperationAborted", ErrorKind::retry, ""},
    {"ConditionalRequestConflict", ErrorKind::retry, ""},
};

ErrorKind kind_of_status(int status) {
  const bool passes = status >= 500 || status == 429 || status == 408;
  return passes && status != 501 ? ErrorKind::retry : ErrorKind::refused;
}

}  // namespace

Error error_of_answer(int status, const std::string& body, const std::string& what) {
  pugi::xml_document document;
  document.load_buffer(body.data(), body.size());
  const auto error = document.child("Error");
  const std::string code = error.child_value("Code"), message = error.child_value("Message");
  Error result{kind_of_status(status), fmt::format("{}: {}", what, status), ""};
  if (!code.empty()) result.message += " " + code;
  if (!message.empty()) result.message += ", " + message.substr(0, 300);
  for (const auto& meaning : kMeanings) {
    if (code != meaning.code) continue;
    result.kind = meaning.kind;
    result.hint = meaning.hint;
  }
  if (code.empty() && status == 403) {
    result.hint = "the store refuses these credentials: check key, secret, bucket and clock";
  }
  return result;
}

void Patience::renew() {
  deadline_ = boottime_now() + limit_;
  tries_ = 0;
}

bool Patience::again(const Error& error) {
  thread_local std::minstd_rand random(std::random_device{}());
  if (error.kind != ErrorKind::retry) return false;
  const auto full = std::min(kLongestPause, kFirstPause * (1 << std::min(tries_++, 10)));
  const auto pause =
      full / 2 + std::chrono::milliseconds(random() % static_cast<unsigned>(full.count() / 2 + 1));
  if (boottime_now() + pause >= deadline_) return false;
  std::this_thread::sleep_for(pause);
  return true;
}

S3Client::S3Client(S3Options options, http::Origin origin)
    : options_(std::move(options)), origin_(std::move(origin)) {}

std::unique_ptr<http::Session> S3Client::take() {
  std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<http::Session>(origin_);
  auto session = std::move(idle_.back());
  idle_.pop_back();
  return session;
}

void S3Client::give_back(std::unique_ptr<http::Session> session) {
  std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleSessions) idle_.push_back(std::move(session));
}

http::ClientRequest S3Client::signed_request(const S3Request& request) const {
  SignedRequest to_sign{request.method, "/", request.query, request.headers, ""};
  if (options_.path_style) to_sign.path += options_.bucket + (request.key.empty() ? "" : "/");
  to_sign.path += request.key;
  // Over TLS the body is protected on its way; the store checks its digest all the same.
  to_sign.payload_hash = origin_.tls ? "UNSIGNED-PAYLOAD" : sha256_hex(request.body);
  auto& headers = to_sign.headers;
  if (origin_.tls && !request.body.empty()) headers["content-md5"] = md5_base64(request.body);
  const bool standard = origin_.port == (origin_.tls ? 443 : 80);
  headers["host"] = standard ? origin_.host : fmt::format("{}:{}", origin_.host, origin_.port);
  headers["x-amz-content-sha256"] = to_sign.payload_hash;
  headers["x-amz-date"] = amz_time();
  if (!options_.credentials.session_token.empty()) {
    headers["x-amz-security-token"] = options_.credentials.session_token;
  }
  http::ClientRequest out{request.method, uri_encode(to_sign.path, true), {}, request.body};
  if (!request.query.empty()) out.target += "?" + encoded_query(request.query);
  const Scope scope{headers["x-amz-date"], options_.region};
  out.headers.assign(headers.begin(), headers.end());
  out.headers.emplace_back("authorization", authorization(to_sign, scope, options_.credentials));
  return out;
}

Result<S3Client::Open> S3Client::open(const S3Request& request) {
  Open result{take(), {}};
  auto head = result.session->begin(signed_request(request));
  const auto what = fmt::format("{} {}/{}", request.method, options_.bucket, request.key);
  if (!head) {
    return fail(head.error().kind, what + ": " + head.error().message, head.error().hint);
  }
  result.head = std::move(*head);
  const int status = result.head.status;
  const auto& expected = request.expected;
  const bool answered = std::find(expected.begin(), expected.end(), status) != expected.end();
  if ((status >= 200 && status < 300) || answered) return result;
  auto body = result.session->read_all(kAnswerLimitBytes);
  // Half an answer says nothing: a 404 that is cut short may be anybody's.
  if (!body) return fail(body.error().kind, what + ": " + body.error().message);
  give_back(std::move(result.session));
  return tl::unexpected(error_of_answer(status, *body, what));
}

Result<S3Answer> S3Client::ask_once(const S3Request& request) {
  auto opened = open(request);
  if (!opened) return tl::unexpected(opened.error());
  auto body = opened->session->read_all(kAnswerLimitBytes);
  if (!body) return tl::unexpected(body.error());
  give_back(std::move(opened->session));
  return S3Answer{opened->head.status, std::move(opened->head.headers), std::move(*body)};
}

Result<S3Answer> S3Client::ask(const S3Request& request) {
  Patience patience(options_.patience);
  for (;;) {
    auto answer = ask_once(request);
    if (answer || !patience.again(answer.error())) return answer;
  }
}

}  // namespace pgsteady::store
