// One bucket over HTTP: signed requests, retries, and answers told apart by what they mean. Only
// the S3 store includes this.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "http/session.h"
#include "store/s3.h"

namespace pgsteady::store {

struct S3Request {
  std::string method;
  std::string key;  // within the bucket; empty for the bucket itself
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string_view body;
  std::vector<int> expected;  // statuses that are answers here, beside 2xx
};

struct S3Answer {
  int status = 0;  // 2xx, or an expected one
  std::map<std::string, std::string> headers;
  std::string body;
};

// Pauses between the tries of one call; a new one for each call.
class Patience {
 public:
  explicit Patience(std::chrono::milliseconds limit) : limit_(limit) { renew(); }
  // Waits and says true when it is worth another try after this error.
  bool again(const Error& error);
  void renew();

 private:
  std::chrono::milliseconds limit_;
  std::chrono::nanoseconds deadline_{};
  int tries_ = 0;
};

// Any number of threads.
class S3Client {
 public:
  explicit S3Client(S3Options options, http::Origin origin);

  // With retries. not_found only for an object that the bucket does not have.
  Result<S3Answer> ask(const S3Request& request);

  // An answer whose body is still to be read from the session. One try.
  struct Open {
    std::unique_ptr<http::Session> session;
    http::ResponseHead head;
  };
  Result<Open> open(const S3Request& request);
  void give_back(std::unique_ptr<http::Session> session);

  const S3Options& options() const { return options_; }

 private:
  std::unique_ptr<http::Session> take();
  http::ClientRequest signed_request(const S3Request& request) const;
  Result<S3Answer> ask_once(const S3Request& request);

  const S3Options options_;
  const http::Origin origin_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<http::Session>> idle_;
};

// What an answer's status and XML body mean.
Error error_of_answer(int status, const std::string& body, const std::string& what);

}  // namespace pgsteady::store
