// For tests: a small S3 inside the process that breaks as a seed tells it to. It checks no
// signature (radosgw does, see tests/archive).
#pragma once

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "http/message.h"
#include "store/sigv4.h"

namespace pgsteady::store::testing {

enum class Mishap { none, status_500, status_503, truncate, reset_before, reset_after, stall };

class FakeS3 {
 public:
  // Of 100 requests so many go wrong.
  FakeS3(unsigned seed, int percent) : random_(seed), percent_(percent) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bool listens = ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                   ::listen(listener_, 64) == 0 &&
                   ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    if (!listens) throw std::runtime_error("no port for the server that plays S3");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~FakeS3() {
    stop_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (auto& thread : threads_) thread.join();
    ::close(listener_);
  }

  std::string endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }
  std::map<std::string, std::string> objects() {
    std::lock_guard lock(mutex_);
    return objects_;
  }
  void set(const std::string& key, const std::string& body) {
    std::lock_guard lock(mutex_);
    objects_[key] = body;
  }
  std::size_t uploads() {
    std::lock_guard lock(mutex_);
    return uploads_.size();
  }
  void set_percent(int percent) { percent_ = percent; }
  // Each request gets this answer from now on; 0: no longer.
  void set_answer(int status, const std::string& code) {
    std::lock_guard lock(mutex_);
    forced_status_ = status;
    forced_code_ = code;
  }
  bool knows_conditions = true;
  std::size_t page_size = 3;
  std::atomic<int> mishaps{0}, requests{0};

 private:
  struct Answer {
    int status = 200;
    std::string body;
    std::string etag;
  };

  void accept_all() {
    while (!stop_) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      threads_.emplace_back([this, fd] {
        while (!stop_ && serve_one(fd)) {
        }
        ::close(fd);
      });
    }
  }

  // More bytes into `in`; false at the end or when the server stops.
  bool more(int fd, std::string& in) {
    char buffer[65536];
    pollfd p{fd, POLLIN, 0};
    while (!stop_ && ::poll(&p, 1, 20) == 0) {
    }
    const ssize_t n = stop_ ? 0 : ::recv(fd, buffer, sizeof buffer, 0);
    if (n > 0) in.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  static std::string header_of(const std::string& head, const std::string& name) {
    auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    at += name.size() + 4;
    return head.substr(at, head.find("\r\n", at) - at);
  }

  bool serve_one(int fd) {
    std::string in;
    std::size_t end = std::string::npos;
    while ((end = in.find("\r\n\r\n")) == std::string::npos) {
      if (!more(fd, in)) return false;
    }
    auto head = in.substr(0, end + 2);
    for (char& c : head) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    const auto request_line = in.substr(0, in.find("\r\n"));
    auto body = in.substr(end + 4);
    const auto length = header_of(head, "content-length");
    const std::size_t wanted = length.empty() ? 0 : std::stoul(length);
    const auto mishap = draw();
    if (mishap == Mishap::reset_before) return reset(fd);
    while (body.size() < wanted) {
      if (!more(fd, body)) return false;
    }
    return reply(fd, request_line, head, body, mishap);
  }

  bool reply(int fd, const std::string& line, const std::string& head, const std::string& body,
             Mishap mishap) {
    ++requests;
    Answer answer;
    if (mishap == Mishap::status_500) answer = error(500, "InternalError");
    if (mishap == Mishap::status_503) answer = error(503, "SlowDown");
    if (answer.status == 200) answer = carry_out(line, head, body);
    if (mishap == Mishap::reset_after) return reset(fd);
    auto text = fmt::format("HTTP/1.1 {} x\r\nContent-Length: {}\r\nETag: {}\r\n\r\n",
                            answer.status, answer.body.size(), answer.etag);
    text += answer.body;
    if (mishap == Mishap::truncate) text.resize(text.size() * 2 / 3);
    if (mishap == Mishap::stall) {
      text.resize(text.size() / 2);
      send_all(fd, text);
      for (int i = 0; i < 100 && !stop_; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return false;
    }
    send_all(fd, text);
    return mishap != Mishap::truncate;
  }

  static void send_all(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  static bool reset(int fd) {
    const linger hard{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return false;
  }

  Mishap draw() {
    std::lock_guard lock(mutex_);
    if (static_cast<int>(random_() % 100) >= percent_) return Mishap::none;
    ++mishaps;
    return static_cast<Mishap>(1 + random_() % 6);
  }

  static Answer error(int status, const std::string& code) {
    return {status, fmt::format("<?xml version=\"1.0\"?><Error><Code>{}</Code></Error>", code), ""};
  }

  Answer carry_out(const std::string& line, const std::string& head, const std::string& body) {
    std::lock_guard lock(mutex_);
    if (forced_status_ != 0) return error(forced_status_, forced_code_);
    const auto method = line.substr(0, line.find(' '));
    http::Request request;
    const auto target = line.substr(method.size() + 1, line.rfind(' ') - method.size() - 1);
    if (!http::parse_target(target, request)) return error(400, "InvalidURI");
    const std::string bucket = "/bucket";
    if (!request.path.starts_with(bucket)) return error(404, "NoSuchBucket");
    const auto key = request.path.size() > bucket.size() + 1 ? request.path.substr(8) : "";
    const bool digest_is_wrong =
        header_of(head, "x-amz-content-sha256") != sha256_hex(body) && !body.empty();
    if (digest_is_wrong) return error(400, "XAmzContentSHA256Mismatch");
    if (method == "GET" && key.empty()) return listing(request.query);
    if (request.query.contains("uploadId")) return multipart(method, key, request.query, body);
    if (method == "POST") {
      const auto id = fmt::format("upload{}", ++next_upload_);
      uploads_[id];
      return {200,
              "<InitiateMultipartUploadResult><UploadId>" + id +
                  "</UploadId></InitiateMultipartUploadResult>",
              ""};
    }
    if (method == "PUT") return put(key, head, body);
    if (method == "DELETE") {
      objects_.erase(key);
      return {204, "", ""};
    }
    return get(key, head);
  }

  Answer put(const std::string& key, const std::string& head, const std::string& body) {
    const bool conditional = header_of(head, "if-none-match") == "*";
    if (conditional && !knows_conditions) return error(501, "NotImplemented");
    if (conditional && objects_.contains(key)) return error(412, "PreconditionFailed");
    objects_[key] = body;
    return {200, "", "\"e\""};
  }

  Answer get(const std::string& key, const std::string& head) {
    if (!objects_.contains(key)) return error(404, "NoSuchKey");
    auto body = objects_[key];
    const auto range = header_of(head, "range");
    if (range.empty()) return {200, body, "\"e\""};
    const auto dash = range.find('-');
    const auto from = std::stoul(range.substr(6, dash - 6));
    if (from >= body.size()) return error(416, "InvalidRange");
    const auto to = dash + 1 < range.size() ? std::stoul(range.substr(dash + 1)) : body.size();
    return {206, body.substr(from, to - from + 1), "\"e\""};
  }

  Answer listing(const std::map<std::string, std::string>& query) {
    const auto prefix = query.contains("prefix") ? query.at("prefix") : "";
    const auto after = query.contains("continuation-token") ? query.at("continuation-token") : "";
    std::string text = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    std::size_t count = 0;
    for (auto it = objects_.upper_bound(after); it != objects_.end(); ++it) {
      if (!it->first.starts_with(prefix)) continue;
      if (count++ == page_size) {
        text += "<NextContinuationToken>" + std::prev(it)->first + "</NextContinuationToken>";
        break;
      }
      text += fmt::format(
          "<Contents><Key>{}</Key><Size>{}</Size>"
          "<LastModified>2026-11-22T14:03:00.000Z</LastModified></Contents>",
          it->first, it->second.size());
    }
    return {200, text + "</ListBucketResult>", ""};
  }

  Answer multipart(const std::string& method, const std::string& key,
                   const std::map<std::string, std::string>& query, const std::string& body) {
    const auto id = query.at("uploadId");
    if (!uploads_.contains(id)) return error(404, "NoSuchUpload");
    if (method == "PUT") {
      uploads_[id][std::stoi(query.at("partNumber"))] = body;
      return {200, "", "\"p\""};
    }
    if (method == "POST") {
      std::string whole;
      for (const auto& [number, part] : uploads_[id]) whole += part;
      objects_[key] = whole;
    }
    uploads_.erase(id);
    return {method == "POST" ? 200 : 204, "", "\"e\""};
  }

  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // the acceptor's until it is joined
  std::mutex mutex_;
  std::minstd_rand random_;
  std::atomic<int> percent_;
  std::map<std::string, std::string> objects_;
  std::map<std::string, std::map<int, std::string>> uploads_;
  int next_upload_ = 0;
  int forced_status_ = 0;
  std::string forced_code_;
};

}  // namespace pgsteady::store::testing
