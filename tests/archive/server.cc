#include "archive/server.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <fmt/format.h>

#include <csignal>
#include <fstream>
#include <stdexcept>

namespace pgsteady::testing {
namespace fs = std::filesystem;
namespace {

constexpr const char* kPostgresBin = "/usr/lib/postgresql/15/bin";

}  // namespace

CommandOutput run_command(const std::vector<std::string>& argv,
                          const std::vector<std::string>& environment, Millis limit) {
  TempDir dir;
  const auto log = dir.path() / "output";
  Process process(argv, log, environment);
  auto status = process.wait(limit);
  return {status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1, tail(log, 1000)};
}

Programs::Programs(const fs::path& dir) : path_(dir / "pgsteady") {
  fs::copy_file(fs::path(PGSTEADY_BINARY_DIR) / "pgsteady", path_,
                fs::copy_options::overwrite_existing);
  fs::permissions(path_, static_cast<fs::perms>(0755));
}

PlainServer::PlainServer(fs::path data, std::vector<std::string> environment)
    : data_(std::move(data)), environment_(std::move(environment)), port_(free_port()) {}

void PlainServer::init(const std::vector<std::string>& options) {
  std::vector<std::string> argv = {std::string(kPostgresBin) + "/initdb",
                                   "-D",
                                   data_,
                                   "-U",
                                   "postgres",
                                   "-A",
                                   "trust",
                                   "-N",
                                   "-k",
                                   "--locale=C.UTF-8"};
  argv.insert(argv.end(), options.begin(), options.end());
  auto made = run_command(argv);
  if (made.exit_code != 0) throw std::runtime_error("initdb: " + made.text);
}

void PlainServer::append(const std::string& lines) {
  std::ofstream(data_ / "postgresql.auto.conf", std::ios::app) << lines << "\n";
}

void PlainServer::start() {
  process_ = std::make_unique<Process>(
      std::vector<std::string>{std::string(kPostgresBin) + "/postgres", "-D", data_, "-p",
                               std::to_string(port_), "-c", "listen_addresses=127.0.0.1", "-c",
                               "unix_socket_directories=", "-c", "shared_buffers=16MB", "-c",
                               "dynamic_shared_memory_type=mmap"},
      data_.string() + ".log", environment_);
}

bool PlainServer::wait_ready(Millis limit) {
  return eventually(limit, [&] { return !running() || ask(conninfo(), "select 1").has_value(); }) &&
         running();
}

bool PlainServer::wait_primary(Millis limit) {
  return eventually(limit,
                    [&] {
                      auto rows =
                          running() ? ask(conninfo(), "select pg_is_in_recovery()") : std::nullopt;
                      return !running() || (rows && rows->at(0).at(0) == "f");
                    }) &&
         running();
}

bool PlainServer::wait_end(Millis limit) {
  return process_->wait(limit).has_value();
}

void PlainServer::stop() {
  process_->signal(SIGINT);
  if (!process_->wait(Millis(60000))) ADD_FAILURE() << "the server does not stop";
}

// Its children notice: nothing of it stays.
void PlainServer::kill() {
  if (!process_) return;
  process_->signal(SIGQUIT);
  process_->wait(Millis(10000));
  process_.reset();
}

std::string PlainServer::conninfo() const {
  return fmt::format("host=127.0.0.1 port={} user=postgres dbname=postgres", port_);
}

std::string PlainServer::sql(const std::string& text) {
  std::string error;
  auto rows = ask(conninfo(), text, Millis(30000), &error);
  EXPECT_TRUE(rows) << text << ": " << error << log();
  return rows && !rows->empty() && !rows->at(0).empty() ? rows->at(0).at(0) : "";
}

}  // namespace pgsteady::testing
