// An archive in an S3 bucket.
//
// Requests are signed (SigV4) and retried with growing pauses on network errors, 429 and 5xx, until
// the patience for one call is used up; never on other answers. Objects up to 17 MiB are one PUT,
// which is conditional where it must not replace; larger ones are uploaded in parts. Each body goes
// out with a checksum that the store verifies, and reading goes on where a connection broke.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "store/object_store.h"
#include "store/sigv4.h"

namespace pgsteady::store {

struct S3Options {
  std::string bucket;
  std::string prefix;  // without slashes at its ends; may be empty
  std::string region = "us-east-1";
  std::string endpoint;     // "https://host:port"; empty: AWS's for the region
  bool path_style = false;  // the bucket in the path, not in the host's name
  std::string ca_file;      // PEM; empty: the system's
  std::string sse;          // x-amz-server-side-encryption
  std::string sse_kms_id;
  std::string storage_class;
  Credentials credentials;
  std::chrono::milliseconds step_limit{15000};  // for each piece of an exchange
  std::chrono::milliseconds patience{60000};    // for one call with its retries
};

// "s3://bucket/some/prefix" into bucket and prefix. False when it is no such URL.
bool parse_s3_url(const std::string& url, S3Options& options);

// refused when the options are wrong. Asks nobody yet.
Result<std::unique_ptr<ObjectStore>> open_s3(S3Options options);

}  // namespace pgsteady::store
