#include "postgres/connection.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <optional>

namespace pgsteady::pg {
namespace {

// libpq's message on one line, without its trailing line break.
std::string one_line(const char* message) {
  std::string text(message ? message : "");
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& c : text) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return text;
}

// Why a connection was refused. libpq tells the SQLSTATE nowhere but in its verbose message.
bool is_not_accepting(const std::string& message) {
  for (const char* state : {" 57P01: ", " 57P02: ", " 57P03: "}) {
    if (message.find(state) != std::string::npos) return true;
  }
  for (const int number : {ENOENT, ECONNREFUSED}) {
    if (message.find(std::strerror(number)) != std::string::npos) return true;
  }
  return false;
}

void drop_notice(void*, const char*) {}  // libpq would print them on stderr

// Connection, resource, shutdown and lock trouble pass; other answers are about the statement.
ErrorKind kind_of(std::string_view sqlstate) {
  const auto group = sqlstate.substr(0, 2);
  const bool passes = group == "08" || group == "53" || group == "55" || group == "57" ||
                      group == "40" || group.empty();
  return passes ? ErrorKind::retry : ErrorKind::refused;
}

}  // namespace

Rows::Rows(pg_result* result) : result_(result, &PQclear) {}
int Rows::count() const {
  return PQntuples(result_.get());
}
bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column);
}
std::string_view Rows::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

Connection::Connection(boost::asio::io_context& loop) : descriptor_(loop), timer_(loop) {}

Connection::~Connection() {
  close();
}

void Connection::close() {
  timer_.cancel();
  if (descriptor_.is_open()) descriptor_.release();  // the socket is libpq's to close
  if (connection_) PQfinish(connection_);
  connection_ = nullptr;
  busy_ = false;
}

int Connection::server_version() const {
  return connection_ ? PQserverVersion(connection_) : 0;
}

tl::unexpected<Error> Connection::late(std::string what) {
  timed_out_ = true;
  return fail(ErrorKind::retry, std::move(what));
}

tl::unexpected<Error> Connection::lost(std::string what) {
  auto message = connection_ ? one_line(PQerrorMessage(connection_)) : std::string();
  message = message.substr(0, message.find(" LOCATION:"));
  close();
  return fail(ErrorKind::retry, fmt::format("{}: {}", what, message));
}

tl::unexpected<Error> Connection::refused() {
  not_accepting_ = is_not_accepting(one_line(PQerrorMessage(connection_)));
  return lost("cannot connect");
}

// The descriptor is lent to Asio for one wait only: libpq may close its socket and open another one
// under the same number, which Asio would not notice.
awaitable<bool> Connection::wait(Direction direction, Deadline deadline) {
  using Descriptor = boost::asio::posix::stream_descriptor;
  boost::system::error_code error;
  descriptor_.assign(PQsocket(connection_), error);
  if (error) co_return false;
  const auto turn = ++turn_;
  timer_.expires_at(deadline);
  timer_.async_wait([this, turn, alive = std::weak_ptr(alive_)](boost::system::error_code e) {
    if (!e && !alive.expired() && turn == turn_) descriptor_.cancel();
  });
  const auto what = direction == Direction::read ? Descriptor::wait_read : Descriptor::wait_write;
  co_await descriptor_.async_wait(what,
                                  boost::asio::redirect_error(boost::asio::use_awaitable, error));
  ++turn_;
  timer_.cancel();
  if (descriptor_.is_open()) descriptor_.release();
  co_return !error;
}

awaitable<Result<void>> Connection::open(std::string conninfo, Deadline deadline) {
  close();
  timed_out_ = not_accepting_ = false;
  connection_ = PQconnectStart(conninfo.c_str());
  if (!connection_) co_return fail(ErrorKind::retry, "no memory for a connection");
  PQsetErrorVerbosity(connection_, PQERRORS_VERBOSE);
  if (PQstatus(connection_) == CONNECTION_BAD) co_return refused();
  auto step = PGRES_POLLING_WRITING;
  while (step != PGRES_POLLING_OK) {
    const auto direction = step == PGRES_POLLING_READING ? Direction::read : Direction::write;
    const bool ready = co_await wait(direction, deadline);
    if (!connection_) co_return fail(ErrorKind::retry, "the connection was closed");
    if (!ready) {
      close();
      co_return late("the server did not accept a connection in time");
    }
    step = PQconnectPoll(connection_);
    if (step == PGRES_POLLING_FAILED) co_return refused();
  }
  PQsetErrorVerbosity(connection_, PQERRORS_DEFAULT);
  PQsetNoticeProcessor(connection_, &drop_notice, nullptr);
  if (PQsetnonblocking(connection_, 1) != 0) co_return lost("cannot connect");
  co_return Result<void>();
}

awaitable<Result<void>> Connection::flush(Deadline deadline) {
  for (;;) {
    const int left = PQflush(connection_);
    if (left == 0) co_return Result<void>();
    if (left < 0) co_return lost("cannot send a query");
    const bool ready = co_await wait(Direction::write, deadline);
    if (!connection_) co_return fail(ErrorKind::retry, "the connection was closed");
    if (!ready) co_return late("the server did not take the query in time");
  }
}

awaitable<Result<std::vector<Rows>>> Connection::collect(Deadline deadline) {
  std::vector<Rows> all;
  std::optional<Error> problem;
  for (;;) {
    while (PQisBusy(connection_)) {
      const bool ready = co_await wait(Direction::read, deadline);
      if (!connection_) co_return fail(ErrorKind::retry, "the connection was closed");
      if (!ready) co_return late("the server did not answer in time");
      if (!PQconsumeInput(connection_)) co_return lost("the connection broke");
    }
    auto* result = PQgetResult(connection_);
    if (!result) break;
    all.emplace_back(result);
    const auto status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || problem) continue;
    const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char* text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    problem = Error{
        kind_of(state ? state : ""), one_line(text ? text : PQresultErrorMessage(result)), {}};
  }
  busy_ = false;
  if (PQstatus(connection_) == CONNECTION_BAD) co_return lost("the connection broke");
  if (problem) co_return tl::unexpected<Error>(*problem);
  co_return all;
}

awaitable<Result<std::vector<Rows>>> Connection::exec(std::string sql, Deadline deadline) {
  timed_out_ = false;
  if (!connection_) co_return fail(ErrorKind::retry, "not connected");
  if (busy_) {
    auto earlier = co_await collect(deadline);
    if (busy_ || !connection_) co_return tl::unexpected<Error>(earlier.error());
  }
  if (!PQsendQuery(connection_, sql.c_str())) co_return lost("cannot send a query");
  busy_ = true;
  auto sent = co_await flush(deadline);
  if (!sent) {
    close();  // half a query is of no use
    co_return tl::unexpected<Error>(sent.error());
  }
  auto results = co_await collect(deadline);
  co_return results;
}

Result<std::string> Connection::scram_verifier(const std::string& user,
                                               const std::string& password) {
  if (!connection_) return fail(ErrorKind::retry, "not connected");
  char* made = PQencryptPasswordConn(connection_, password.c_str(), user.c_str(), "scram-sha-256");
  if (!made) return fail(ErrorKind::retry, one_line(PQerrorMessage(connection_)));
  std::string verifier(made);
  PQfreemem(made);
  return verifier;
}

}  // namespace pgsteady::pg
