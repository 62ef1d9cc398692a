#include "store/s3.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/url/parse.hpp>
#include <ctime>
#include <pugixml.hpp>

#include "store/s3_client.h"

namespace pgsteady::store {
namespace {

constexpr std::size_t kPartBytes = 17 << 20;  // a usual WAL segment is one PUT
constexpr int kPreconditionFailed = 412, kBeyondTheEnd = 416, kNotImplemented = 501;

std::uint64_t number_of(std::string_view text) {
  std::uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return 0;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

// "2026-11-23T01:02:03.456Z"
WallTime listed_time(const char* text) {
  std::tm time{};
  if (!::strptime(text, "%Y-%m-%dT%H:%M:%S", &time)) return {};
  return WallTime(std::chrono::seconds(::timegm(&time)));
}

std::string header(const std::map<std::string, std::string>& headers, const std::string& name) {
  auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

class S3Reader : public Reader {
 public:
  S3Reader(S3Client& client, std::string key, Range range)
      : client_(client),
        key_(std::move(key)),
        range_(range),
        patience_(client.options().patience) {}

  Result<void> open() {
    for (;;) {
      auto opened = open_once();
      if (opened || !patience_.again(opened.error())) return opened;
    }
  }

  Result<std::size_t> read(std::span<char> into) override {
    for (;;) {
      if (ended_) return 0;
      auto count = read_once(into);
      if (!count) session_.reset();
      if (count || !patience_.again(count.error())) return count;
    }
  }

 private:
  bool partial() const { return range_.offset > 0 || range_.count != UINT64_MAX; }

  Result<void> open_once() {
    S3Request request{"GET", key_, {}, {}, {}, {kPreconditionFailed, kBeyondTheEnd}};
    if (partial()) {
      const bool open_end = range_.count == UINT64_MAX;
      request.headers["range"] =
          fmt::format("bytes={}-{}", range_.offset,
                      open_end ? "" : std::to_string(range_.offset + range_.count - 1));
    }
    if (!etag_.empty()) request.headers["if-match"] = etag_;
    auto opened = client_.open(request);
    if (!opened) return tl::unexpected(opened.error());
    if (opened->head.status == kBeyondTheEnd) {
      ended_ = true;
      return {};
    }
    if (opened->head.status == kPreconditionFailed) {
      return fail(ErrorKind::corrupt, key_ + " was replaced while it was read");
    }
    if (partial() && opened->head.status != 206) {
      return fail(ErrorKind::refused, "the store does not answer ranges");
    }
    etag_ = header(opened->head.headers, "etag");
    session_ = std::move(opened->session);
    return {};
  }

  Result<std::size_t> read_once(std::span<char> into) {
    if (!session_) {
      if (auto opened = open_once(); !opened) return tl::unexpected(opened.error());
    }
    auto count = session_->read(into);
    if (!count) return count;
    if (*count > 0) {
      patience_.renew();
      range_.offset += *count;
      if (range_.count != UINT64_MAX) range_.count -= std::min<std::uint64_t>(range_.count, *count);
    } else {
      ended_ = true;
      client_.give_back(std::move(session_));
    }
    return count;
  }

  S3Client& client_;
  const std::string key_;
  Range range_;  // what is left
  Patience patience_;
  std::string etag_;
  std::unique_ptr<http::Session> session_;
  bool ended_ = false;
};

class S3Store : public ObjectStore {
 public:
  S3Store(S3Options options, http::Origin origin)
      : client_(std::move(options), std::move(origin)) {}

  Result<std::unique_ptr<Writer>> create(const std::string& key, Put how) override;
  Result<std::unique_ptr<Reader>> open(const std::string& key, Range range) override;
  Result<ObjectInfo> head(const std::string& key) override;
  Result<void> list(const std::string& prefix,
                    const std::function<bool(const ObjectInfo&)>& each) override;
  Result<std::vector<ObjectInfo>> find(const std::string& base,
                                       const std::vector<std::string>& suffixes) override;
  Result<void> remove(const std::string& key) override;
  std::string name() const override {
    const auto& options = client_.options();
    return fmt::format("s3://{}/{}", options.bucket, options.prefix);
  }

  Result<Stored> put(const std::string& key, std::string_view body, Put how);
  std::string full_key(const std::string& key) const {
    const auto& prefix = client_.options().prefix;
    return prefix.empty() ? key : prefix + "/" + key;
  }
  std::map<std::string, std::string> object_headers() const;
  S3Client& client() { return client_; }

 private:
  S3Client client_;
  std::atomic<bool> conditional_{true};  // the store knows If-None-Match
};

// Collects up to one part; what fits is one PUT at the end.
class S3Writer : public Writer {
 public:
  S3Writer(S3Store& store, std::string key, Put how)
      : store_(store), key_(std::move(key)), how_(how) {}
  ~S3Writer() override {
    if (upload_.empty()) return;
    // What this can't remove, a lifecycle rule of the bucket must.
    (void)store_.client().ask(
        {"DELETE", store_.full_key(key_), {{"uploadId", upload_}}, {}, {}, {}});
  }

  Result<void> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      if (buffer_.size() == kPartBytes) {
        if (auto sent = send_part(); !sent) return sent;
      }
      const auto piece = bytes.substr(0, kPartBytes - buffer_.size());
      buffer_ += piece;
      bytes.remove_prefix(piece.size());
    }
    return {};
  }

  Result<Stored> finish() override {
    if (upload_.empty()) return store_.put(key_, buffer_, how_);
    if (auto sent = send_part(); !sent) return tl::unexpected(sent.error());
    if (how_ == Put::if_absent) {  // conditions on parts are not known everywhere
      auto there = store_.head(key_);
      if (there) return Stored::existed;
      if (there.error().kind != ErrorKind::not_found) return tl::unexpected(there.error());
    }
    return complete();
  }

 private:
  Result<void> begin_upload() {
    auto answer = store_.client().ask(
        {"POST", store_.full_key(key_), {{"uploads", ""}}, store_.object_headers(), {}, {}});
    if (!answer) return tl::unexpected(answer.error());
    pugi::xml_document document;
    document.load_buffer(answer->body.data(), answer->body.size());
    upload_ = document.child("InitiateMultipartUploadResult").child_value("UploadId");
    if (upload_.empty()) return fail(ErrorKind::retry, key_ + ": the store begins no upload");
    return {};
  }

  Result<void> send_part() {
    if (upload_.empty()) {
      if (auto begun = begin_upload(); !begun) return begun;
    }
    const auto number = std::to_string(etags_.size() + 1);
    auto answer = store_.client().ask({"PUT",
                                       store_.full_key(key_),
                                       {{"partNumber", number}, {"uploadId", upload_}},
                                       {},
                                       buffer_,
                                       {}});
    if (!answer) return tl::unexpected(answer.error());
    etags_.push_back(header(answer->headers, "etag"));
    total_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  Result<Stored> complete() {
    std::string body = "<CompleteMultipartUpload>";
    for (std::size_t i = 0; i < etags_.size(); ++i) {
      body +=
          fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1, etags_[i]);
    }
    body += "</CompleteMultipartUpload>";
    auto answer =
        store_.client().ask({"POST", store_.full_key(key_), {{"uploadId", upload_}}, {}, body, {}});
    // An error may hide in a 200; and an answer that was lost makes the next try fail.
    const bool good = answer && answer->body.find("<Error>") == std::string::npos;
    if (!good) {
      auto there = store_.head(key_);
      if (!there || there->size_bytes != total_) {
        if (!answer) return tl::unexpected(answer.error());
        return fail(ErrorKind::retry, key_ + ": the store could not put the parts together");
      }
    }
    upload_.clear();
    return Stored::created;
  }

  S3Store& store_;
  const std::string key_;
  const Put how_;
  std::string buffer_;
  std::string upload_;
  std::vector<std::string> etags_;
  std::uint64_t total_ = 0;
};

std::map<std::string, std::string> S3Store::object_headers() const {
  std::map<std::string, std::string> headers;
  const auto& options = client_.options();
  if (!options.sse.empty()) headers["x-amz-server-side-encryption"] = options.sse;
  if (!options.sse_kms_id.empty()) {
    headers["x-amz-server-side-encryption-aws-kms-key-id"] = options.sse_kms_id;
  }
  if (!options.storage_class.empty()) headers["x-amz-storage-class"] = options.storage_class;
  return headers;
}

Result<Stored> S3Store::put(const std::string& key, std::string_view body, Put how) {
  S3Request request{"PUT", full_key(key), {}, object_headers(), body, {}};
  if (how == Put::if_absent && conditional_) request.headers["if-none-match"] = "*";
  if (how == Put::if_absent && !conditional_) {
    auto there = head(key);
    if (there) return Stored::existed;
    if (there.error().kind != ErrorKind::not_found) return tl::unexpected(there.error());
  }
  if (request.headers.contains("if-none-match")) {
    request.expected = {kPreconditionFailed, kNotImplemented};
  }
  auto answer = client_.ask(request);
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status == kPreconditionFailed) return Stored::existed;
  if (answer->status != kNotImplemented) return Stored::created;
  conditional_ = false;
  return put(key, body, how);
}

Result<std::unique_ptr<Writer>> S3Store::create(const std::string& key, Put how) {
  return std::make_unique<S3Writer>(*this, key, how);
}

Result<std::unique_ptr<Reader>> S3Store::open(const std::string& key, Range range) {
  auto reader = std::make_unique<S3Reader>(client_, full_key(key), range);
  if (auto opened = reader->open(); !opened) return tl::unexpected(opened.error());
  return reader;
}

// A listing of one: the answer to HEAD has no body that tells a missing object from a missing
// bucket.
Result<ObjectInfo> S3Store::head(const std::string& key) {
  auto found = find(key, {""});
  if (!found) return tl::unexpected(found.error());
  if (found->empty()) {
    return fail(ErrorKind::not_found, fmt::format("there is no {} in {}", key, name()));
  }
  return found->front();
}

Result<void> S3Store::list(const std::string& prefix,
                           const std::function<bool(const ObjectInfo&)>& each) {
  S3Request request{"GET", "", {{"list-type", "2"}, {"prefix", full_key(prefix)}}, {}, {}, {}};
  const auto skip = full_key("").size();
  for (;;) {
    auto answer = client_.ask(request);
    if (!answer) return tl::unexpected(answer.error());
    pugi::xml_document document;
    document.load_buffer(answer->body.data(), answer->body.size());
    const auto result = document.child("ListBucketResult");
    if (!result) return fail(ErrorKind::retry, name() + ": the answer is no listing");
    for (const auto& object : result.children("Contents")) {
      const std::string key = object.child_value("Key");
      if (key.size() <= skip) continue;
      if (!each({key.substr(skip), number_of(object.child_value("Size")),
                 listed_time(object.child_value("LastModified"))})) {
        return {};
      }
    }
    const std::string next = result.child_value("NextContinuationToken");
    if (next.empty()) return {};
    request.query["continuation-token"] = next;
  }
}

Result<std::vector<ObjectInfo>> S3Store::find(const std::string& base,
                                              const std::vector<std::string>& suffixes) {
  std::vector<std::pair<std::size_t, ObjectInfo>> ranked;
  auto listed = list(base, [&](const ObjectInfo& info) {
    auto found = std::find(suffixes.begin(), suffixes.end(), info.key.substr(base.size()));
    if (found != suffixes.end()) ranked.emplace_back(found - suffixes.begin(), info);
    return info.key.size() <= base.size() || info.key[base.size()] <= '.';
  });
  if (!listed) return tl::unexpected(listed.error());
  std::sort(ranked.begin(), ranked.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<ObjectInfo> result;
  for (auto& [rank, info] : ranked) result.push_back(std::move(info));
  return result;
}

Result<void> S3Store::remove(const std::string& key) {
  auto answer = client_.ask({"DELETE", full_key(key), {}, {}, {}, {}});
  if (answer || answer.error().kind == ErrorKind::not_found) return {};
  return tl::unexpected(answer.error());
}

Result<http::Origin> origin_of(const S3Options& options) {
  http::Origin origin;
  origin.ca_file = options.ca_file;
  origin.step_limit = options.step_limit;
  const auto endpoint = options.endpoint.empty()
                            ? fmt::format("https://s3.{}.amazonaws.com", options.region)
                            : options.endpoint;
  auto url = boost::urls::parse_uri(endpoint);
  const bool known = url && (url->scheme() == "http" || url->scheme() == "https");
  if (!known || url->host_address().empty()) {
    return fail(ErrorKind::refused, fmt::format("\"{}\" is no endpoint of a store", endpoint),
                "set AWS_ENDPOINT to https://host:port");
  }
  origin.tls = url->scheme() == "https";
  origin.host = url->host_address();
  origin.port = url->has_port() ? url->port_number() : origin.tls ? 443 : 80;
  if (!options.path_style) origin.host = options.bucket + "." + origin.host;
  return origin;
}

}  // namespace

bool parse_s3_url(const std::string& url, S3Options& options) {
  constexpr std::string_view kScheme = "s3://";
  if (!url.starts_with(kScheme)) return false;
  const auto rest = url.substr(kScheme.size());
  const auto slash = rest.find('/');
  options.bucket = rest.substr(0, slash);
  options.prefix = slash == std::string::npos ? "" : rest.substr(slash + 1);
  while (options.prefix.ends_with('/')) options.prefix.pop_back();
  return !options.bucket.empty() && !options.prefix.starts_with('/');
}

Result<std::unique_ptr<ObjectStore>> open_s3(S3Options options) {
  if (options.credentials.access_key.empty() || options.credentials.secret_key.empty()) {
    return fail(ErrorKind::refused, "there are no credentials for the bucket",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  }
  auto origin = origin_of(options);
  if (!origin) return tl::unexpected(origin.error());
  return std::make_unique<S3Store>(std::move(options), std::move(*origin));
}

}  // namespace pgsteady::store
