// Runs something that may block (a helper program, a name's look-up) beside the loop and waits for
// it until a deadline. What comes later is thrown away.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace pgsteady::pg {

// Nothing when the deadline came first. `work` must hold by value all that it uses. The pool must
// be joined before the loop is destroyed.
template <typename T>
boost::asio::awaitable<std::optional<T>> run_aside(boost::asio::thread_pool& pool,
                                                   boost::asio::io_context& loop,
                                                   std::function<T()> work,
                                                   std::chrono::steady_clock::time_point deadline) {
  struct Handover {
    std::optional<T> value;
    boost::asio::steady_timer arrived;
  };
  auto handover =
      std::make_shared<Handover>(Handover{std::nullopt, boost::asio::steady_timer(loop)});
  handover->arrived.expires_at(deadline);
  boost::asio::post(pool, [handover, work, &loop]() mutable {
    auto value = std::make_shared<T>(work());
    boost::asio::post(loop, [handover = std::move(handover), value] {
      handover->value = std::move(*value);
      handover->arrived.cancel();
    });
  });
  boost::system::error_code ignored;
  if (!handover->value) {
    co_await handover->arrived.async_wait(
        boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  co_return std::move(handover->value);
}

}  // namespace pgsteady::pg
