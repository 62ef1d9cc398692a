// Where the archive is and how it is written, from the names that WAL-G and WAL-E use.
//
//   WALG_FILE_PREFIX                            a directory, or
//   WALG_S3_PREFIX, WALE_S3_PREFIX              s3://bucket/prefix, with
//   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
//   AWS_ENDPOINT                                http[s]://host:port, for stores that are not AWS's
//   AWS_S3_FORCE_PATH_STYLE                     true: the bucket in the path
//   WALE_S3_ENDPOINT                            the last two in one: http+path://host:port
//   WALG_S3_CA_CERT_FILE                        the CA that signed the endpoint's certificate
//   WALG_S3_SSE, WALG_S3_SSE_KMS_ID, WALG_S3_STORAGE_CLASS
//   WALG_COMPRESSION_METHOD                     lz4 (default), zstd or none
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "archive/codec.h"
#include "base/error.h"
#include "store/object_store.h"
#include "store/s3.h"

namespace pgsteady::archive {

using Variables = std::map<std::string, std::string>;

// `environment` as of environ ("NAME=value"); an empty value counts as not set.
Variables variables_of(const std::vector<std::string>& environment);
// A directory of files, one variable each: the first line, trailing blanks off. They win over
// what is there. refused when the directory can't be read.
Result<void> add_envdir(const std::string& directory, Variables& variables);

struct Settings {
  std::string directory;  // empty when the archive is in a bucket
  store::S3Options s3;
  Method method = Method::lz4;
};

// refused: nothing says where the archive is, or a value is none that is known.
Result<Settings> read_settings(const Variables& variables);

Result<std::unique_ptr<store::ObjectStore>> open_store(const Settings& settings);

}  // namespace pgsteady::archive
