// The watch over the prefix: says that something changed, never what. Since its word is always
// followed by a read, it starts at etcd's present whenever it is opened (there is no revision to
// resume from and none that could be compacted) and says "changed" once it stands.
#pragma once

#include "dcs/session.h"
#include "dcs/stream.h"

namespace pgsteady::dcs {

// The end of the range of all keys with this prefix.
std::string prefix_end(std::string prefix);

class Watcher {
 public:
  // `changed` is run on the reactor's thread, for each message and each loss of the stream.
  Watcher(Session& session, std::function<void()> changed);
  void open();
  // Its endpoint has just failed a call: rather move than wait for HTTP/2's keepalive.
  void endpoint_failed(std::size_t index);
  // A read has found a key of this revision; a watch that stays behind it is stuck.
  void seen_elsewhere(std::int64_t mod_revision);

 private:
  using WatchStream = Stream<pb::WatchRequest, pb::WatchResponse>;

  void message(const pb::WatchResponse& response);
  void lost(const std::string& why);
  void reopen_later();

  Session& session_;
  std::function<void()> changed_;
  std::shared_ptr<WatchStream> stream_;
  std::size_t index_ = 0;
  std::int64_t revision_ = 0;  // of the last message on this stream, 0 before the first
  std::chrono::milliseconds pause_{};
  bool waiting_ = false;   // to be opened again
  bool checking_ = false;  // a look at whether it is stuck is due
};

}  // namespace pgsteady::dcs
