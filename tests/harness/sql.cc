#include "harness/sql.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>

namespace pgsteady::testing {
namespace {

bool wait_for(PGconn* connection, short events, Clock::time_point deadline) {
  auto left = std::chrono::duration_cast<Millis>(deadline - Clock::now()).count();
  if (left <= 0) return false;
  pollfd p{PQsocket(connection), events, 0};
  return poll(&p, 1, static_cast<int>(left)) > 0;
}

// Flushes and reads until a whole result is there.
bool await_result(PGconn* connection, Clock::time_point deadline) {
  while (PQflush(connection) == 1) {
    if (!wait_for(connection, POLLOUT | POLLIN, deadline) || !PQconsumeInput(connection))
      return false;
  }
  while (PQisBusy(connection)) {
    if (!wait_for(connection, POLLIN, deadline) || !PQconsumeInput(connection)) return false;
  }
  return true;
}

SqlClient::Rows rows_of(const PGresult* result) {
  SqlClient::Rows rows;
  const auto width = static_cast<std::size_t>(PQnfields(result));
  for (int row = 0; row < PQntuples(result); ++row) {
    std::vector<std::string> columns;
    columns.reserve(width);
    for (int i = 0; i < PQnfields(result); ++i) columns.emplace_back(PQgetvalue(result, row, i));
    rows.push_back(std::move(columns));
  }
  return rows;
}

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, Clear>;

}  // namespace

bool SqlClient::connect(const std::string& conninfo, Millis limit) {
  const auto deadline = Clock::now() + limit;
  connection_.reset(PQconnectStart(conninfo.c_str()));
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  auto step = PGRES_POLLING_WRITING;
  while (PQstatus(connection_.get()) != CONNECTION_BAD) {
    short events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!wait_for(connection_.get(), events, deadline)) break;
    step = PQconnectPoll(connection_.get());
    if (step == PGRES_POLLING_FAILED) break;
    if (step == PGRES_POLLING_OK && PQsetnonblocking(connection_.get(), 1) == 0) return true;
  }
  error_ = PQerrorMessage(connection_.get());
  if (error_.empty()) error_ = "no connection within the limit";
  close();
  return false;
}

int SqlClient::port() const {
  return connection_ ? std::atoi(PQport(connection_.get())) : 0;
}

std::optional<SqlClient::Rows> SqlClient::query(const std::string& sql,
                                                const std::vector<std::string>& parameters,
                                                Millis limit) {
  const auto deadline = Clock::now() + limit;
  PGconn* connection = connection_.get();
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const auto& parameter : parameters) values.push_back(parameter.c_str());
  std::optional<Rows> rows;
  if (!PQsendQueryParams(connection, sql.c_str(), static_cast<int>(values.size()), nullptr,
                         values.data(), nullptr, nullptr, 0)) {
    error_ = PQerrorMessage(connection);
    close();
    return rows;
  }
  for (;;) {  // until the null result that ends a command
    if (!await_result(connection, deadline)) {
      error_ = "no answer within the limit";
      close();
      return std::nullopt;
    }
    ResultPtr result(PQgetResult(connection));
    if (!result) break;
    auto status = PQresultStatus(result.get());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      rows = rows_of(result.get());
    } else {
      rows = std::nullopt;
      error_ = PQresultErrorMessage(result.get());
    }
  }
  if (PQstatus(connection) == CONNECTION_BAD) close();
  return rows;
}

std::optional<SqlClient::Rows> ask(const std::string& conninfo, const std::string& sql,
                                   Millis limit, std::string* error) {
  SqlClient client;
  std::optional<SqlClient::Rows> rows;
  if (client.connect(conninfo, limit)) rows = client.query(sql, {}, limit);
  if (error) *error = rows ? "" : client.last_error();
  return rows;
}

}  // namespace pgsteady::testing
