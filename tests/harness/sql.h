// A PostgreSQL client whose every step has a deadline, so that a frozen server blocks nobody.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/process.h"

namespace pgsteady::testing {

// One connection; one thread at a time.
class SqlClient {
 public:
  // False when there is no usable connection within the limit; the reason is in last_error().
  bool connect(const std::string& conninfo, Millis limit);
  bool connected() const { return connection_ != nullptr; }
  void close() { connection_.reset(); }
  int port() const;  // of the server that this connection reached

  // The rows as text, nullopt on an error or at the limit; a connection that did not answer in time
  // or broke is closed.
  using Rows = std::vector<std::vector<std::string>>;
  std::optional<Rows> query(const std::string& sql, const std::vector<std::string>& parameters,
                            Millis limit);

  const std::string& last_error() const { return error_; }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
  std::string error_;
};

// Connects, asks, closes.
std::optional<SqlClient::Rows> ask(const std::string& conninfo, const std::string& sql,
                                   Millis limit = Millis(3000), std::string* error = nullptr);

}  // namespace pgsteady::testing
