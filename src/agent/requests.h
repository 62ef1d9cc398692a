// Operators' requests on their way from the REST thread to the loop, and the answers back.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/request.h"

namespace pgsteady::agent {

// Any thread. Every request that was taken is answered: by the loop, or with a 503 when it ends.
class Requests {
 public:
  using Answer = std::function<void(int status, std::string text)>;

  // Sets the request's id and time. Refused with a 503 at once: more than 16 are open, or no loop.
  void submit(core::Request request, Answer answer);

  // --- the loop's side ---------------------------------------------------------------------------
  void open(std::function<void()> arrived);  // called on any thread for each request
  std::vector<core::Request> take();
  void answer(std::uint64_t id, int status, std::string text);
  void close();

 private:
  Answer take_answer(std::uint64_t id);

  std::mutex mutex_;
  std::function<void()> arrived_;
  std::uint64_t last_id_ = 0;
  std::vector<core::Request> waiting_;
  std::map<std::uint64_t, Answer> answers_;
};

}  // namespace pgsteady::agent
