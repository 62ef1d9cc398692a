// One libpq connection driven by the loop: connecting, sending and reading never block it, and each
// await ends at its deadline.
//
// Belongs to the loop's thread; one coroutine at a time. The loop must outlive it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

struct pg_conn;
struct pg_result;

namespace pgsteady::pg {

using boost::asio::awaitable;
using Deadline = std::chrono::steady_clock::time_point;

// The rows of one statement.
class Rows {
 public:
  explicit Rows(pg_result* result);  // takes it over
  int count() const;
  bool is_null(int row, int column) const;
  std::string_view text(int row, int column) const;  // empty for null

 private:
  std::shared_ptr<pg_result> result_;
};

class Connection {
 public:
  explicit Connection(boost::asio::io_context& loop);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Hosts in `conninfo` must be socket directories or addresses: names would be looked up by libpq,
  // which blocks. Closes an older connection first. Errors name the user, never the password.
  awaitable<Result<void>> open(std::string conninfo, Deadline deadline);
  // One or several statements in one round trip; one Rows for each. After a deadline the connection
  // stays open and the late answer is thrown away by the next call, so that a slow server is not
  // buried under sessions. refused: the server rejected the statement.
  awaitable<Result<std::vector<Rows>>> exec(std::string sql, Deadline deadline);

  bool is_open() const { return connection_ != nullptr; }
  bool timed_out() const { return timed_out_; }  // the last failure was the deadline
  // The last open() failed because the server starts up, shuts down, recovers, or nobody listens.
  bool not_accepting() const { return not_accepting_; }
  int server_version() const;  // 150018
  void close();

  // What ALTER ROLE ... PASSWORD takes in place of the password itself. Needs an open connection.
  Result<std::string> scram_verifier(const std::string& user, const std::string& password);

 private:
  enum class Direction { read, write };
  awaitable<bool> wait(Direction direction, Deadline deadline);
  awaitable<Result<void>> flush(Deadline deadline);
  awaitable<Result<std::vector<Rows>>> collect(Deadline deadline);
  tl::unexpected<Error> late(std::string what);
  tl::unexpected<Error> lost(std::string what);
  tl::unexpected<Error> refused();

  pg_conn* connection_ = nullptr;
  bool busy_ = false;  // a statement was sent whose results are not all read
  bool timed_out_ = false;
  bool not_accepting_ = false;
  std::uint64_t turn_ = 0;  // of wait(): tells a timer that its wait has ended
  boost::asio::posix::stream_descriptor descriptor_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace pgsteady::pg
