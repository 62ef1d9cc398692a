// One PostgreSQL without a manager, for the archive's tests: its own commands, as in its files.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/process.h"
#include "harness/sql.h"

namespace pgsteady::testing {

// Runs a program as the server user to its end.
struct CommandOutput {
  int exit_code;  // -1: it did not end in time
  std::string text;
};
CommandOutput run_command(const std::vector<std::string>& argv,
                          const std::vector<std::string>& environment = {},
                          Millis limit = Millis(120000));

// The pgsteady of this build, where the server user can run it.
class Programs {
 public:
  explicit Programs(const std::filesystem::path& dir);
  std::string pgsteady() const { return path_; }

 private:
  std::string path_;
};

class PlainServer {
 public:
  // Nothing is made yet. `environment` is the server's, and so its commands'.
  PlainServer(std::filesystem::path data, std::vector<std::string> environment);
  ~PlainServer() { kill(); }

  void init(const std::vector<std::string>& options = {});
  void append(const std::string& lines);  // to postgresql.auto.conf
  void start();
  bool wait_ready(Millis limit = Millis(60000));  // answers queries
  bool wait_primary(Millis limit = Millis(60000));
  bool running() { return process_ && process_->running(); }
  bool wait_end(Millis limit = Millis(60000));
  void stop();  // fast
  void kill();

  // The first column of the first row; fails the test on an error.
  std::string sql(const std::string& text);
  std::string conninfo() const;
  const std::filesystem::path& data() const { return data_; }
  std::string log() const { return tail(data_.string() + ".log", 60); }
  int port() const { return port_; }

 private:
  std::filesystem::path data_;
  std::vector<std::string> environment_;
  int port_;
  std::unique_ptr<Process> process_;
};

}  // namespace pgsteady::testing
