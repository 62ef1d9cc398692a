#include "dcs/watch.h"

#include <algorithm>

#include "base/log.h"

namespace pgsteady::dcs {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kShortestPause(50);
constexpr milliseconds kLongestPause(1000);
constexpr milliseconds kStuckAfter(1000);  // how far a watch may lag behind a read

}  // namespace

std::string prefix_end(std::string prefix) {
  while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
  if (prefix.empty()) return std::string(1, '\0');  // etcd's word for "to the last key"
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

Watcher::Watcher(Session& session, std::function<void()> changed)
    : session_(session), changed_(std::move(changed)), pause_(kShortestPause) {}

void Watcher::open() {
  if (session_.broken()) return;
  if (session_.wants_token()) {
    waiting_ = true;
    return session_.authenticate(kLongestPause, [this](const Result<bool>& result) {
      waiting_ = false;
      if (!result) return reopen_later();
      open();
    });
  }
  index_ = session_.current();
  revision_ = 0;
  stream_ =
      WatchStream::open(session_.reactor(), session_.token(),
                        {[this](const pb::WatchResponse& response) { message(response); },
                         [this](const grpc::Status& status) {
                           if (classify(status) == Failure::stale_token)
                             session_.forget_token(session_.token());
                           session_.failed(index_);
                           lost(status.error_message());
                         }},
                        [this](auto* context, auto* queue) {
                          return session_.endpoint(index_).watch->PrepareAsyncWatch(context, queue);
                        });
  pb::WatchRequest request;
  request.mutable_create_request()->set_key(session_.options().prefix);
  request.mutable_create_request()->set_range_end(prefix_end(session_.options().prefix));
  stream_->write(std::move(request));
}

void Watcher::message(const pb::WatchResponse& response) {
  if (response.canceled()) {
    // The reason may be a token that has run out; the next stream gets a new one.
    if (!session_.token().empty()) session_.forget_token(session_.token());
    return lost(response.cancel_reason());
  }
  if (response.header().revision() > revision_) revision_ = response.header().revision();
  pause_ = kShortestPause;
  changed_();
}

void Watcher::endpoint_failed(std::size_t index) {
  if (stream_ && index == index_ && session_.size() > 1) lost("its endpoint does not answer");
}

void Watcher::seen_elsewhere(std::int64_t mod_revision) {
  if (!stream_ || checking_ || mod_revision <= revision_) return;
  checking_ = true;
  session_.reactor().after(kStuckAfter, [this, mod_revision, stream = std::weak_ptr(stream_)] {
    checking_ = false;
    if (stream_ && stream.lock() == stream_ && mod_revision > revision_) lost("it lags behind");
  });
}

void Watcher::lost(const std::string& why) {
  log_debug("watch at {} lost: {}", session_.endpoint(index_).address, why);
  if (stream_) stream_->close();
  stream_.reset();
  changed_();
  reopen_later();
}

void Watcher::reopen_later() {
  if (waiting_) return;
  waiting_ = true;
  session_.reactor().after(pause_, [this] {
    waiting_ = false;
    open();
  });
  pause_ = std::min(pause_ * 2, kLongestPause);
}

}  // namespace pgsteady::dcs
