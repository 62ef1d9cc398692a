// For tests: a Server with a real PostgreSQL behind it, in a directory of its own, without a
// guardian. Ends its postmaster when it goes.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "base/process.h"
#include "postgres/connection.h"
#include "postgres/server.h"

extern char** environ;

namespace pgsteady::pg::testing {

using namespace std::chrono_literals;

// The newest installed server; empty when there is none.
inline std::string installed_bin_dir() {
  std::string found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", error)) {
    const auto bin = entry.path().string() + "/bin";
    if (std::filesystem::exists(bin + "/postgres", error) && bin > found) found = bin;
  }
  return found;
}

// PostgreSQL refuses root, and peer authentication wants one user for both sides.
inline void become_postgres() {
  if (geteuid() != 0) return;
  const auto* user = getpwnam("postgres");
  ASSERT_TRUE(user);
  ASSERT_EQ(initgroups("postgres", user->pw_gid), 0);
  ASSERT_EQ(setgid(user->pw_gid), 0);
  ASSERT_EQ(setuid(user->pw_uid), 0);
}

// A port of loopback below the kernel's own range, kept from other tests from now on: the socket is
// bound but does not listen, which keeps PostgreSQL, with SO_REUSEADDR as well, from nothing.
class ReservedPort {
 public:
  ReservedPort() {
    std::random_device random;
    while (!take(static_cast<std::uint16_t>(21000 + random() % 11000))) close(fd_);
  }
  ~ReservedPort() { close(fd_); }
  ReservedPort(const ReservedPort&) = delete;
  ReservedPort& operator=(const ReservedPort&) = delete;

  std::uint16_t number() const { return number_; }

 private:
  bool take(std::uint16_t number) {
    number_ = number;
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(number);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return false;
    const int on = 1;
    return setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
  }

  int fd_ = -1;
  std::uint16_t number_ = 0;
};

// Runs one coroutine on the loop to its end.
template <typename T>
T run(boost::asio::io_context& loop, awaitable<T> work) {
  std::optional<T> result;
  boost::asio::co_spawn(loop, std::move(work), [&](const std::exception_ptr& error, T value) {
    if (error) std::rethrow_exception(error);
    result.emplace(std::move(value));
  });
  loop.restart();
  while (!result) loop.run_one();
  return std::move(*result);
}

class Directory {
 public:
  Directory() {
    char pattern[] = "/tmp/pgsteady-test-XXXXXX";
    path = mkdtemp(pattern);
  }
  ~Directory() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
  std::string path;
};

inline ServerSettings settings_in(const std::string& directory, const MemberName& name) {
  ServerSettings s;
  s.scope = "demo";
  s.name = name;
  s.data_dir = directory + "/" + name + "/data";
  s.state_dir = directory + "/" + name + "/state";
  s.unix_socket_dir = directory + "/" + name + "/run";
  s.pgpass_path = directory + "/" + name + "/pgpass";
  s.bin_dir = installed_bin_dir();
  s.listen_hosts = {"127.0.0.1"};
  s.port = 5432;
  s.superuser = {"root user", "super 'secret'"};
  s.replication = {"replicator", "rep:li\\cation"};
  s.rewind = {"rewinder", "rewinding"};
  s.users = {{{"admin", "admin-secret"}, {"createdb", "createrole"}}};
  std::filesystem::create_directories(directory + "/" + name);
  return s;
}

class LiveServer {
 public:
  LiveServer(const std::string& directory, const MemberName& name)
      : server(loop, prepared(directory, name, port.number())) {}
  ~LiveServer() { stop(SIGQUIT); }

  void do_command(const Command& command) {
    auto output = run_process(command.argv, command.environment, 120s);
    ASSERT_TRUE(output) << output.error().message;
    ASSERT_EQ(output->exit_code, 0) << output->output;
  }

  void start() {
    auto command = server.start_command();
    std::vector<char*> argv;
    for (auto& argument : command.argv) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    const auto log = server.settings().state_dir + "/start.log";
    posix_spawn_file_actions_addopen(&files, 2, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ASSERT_EQ(posix_spawn(&pid, argv[0], &files, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&files);
  }

  void stop(int how = SIGINT) {
    if (pid == 0) return;
    kill(pid, how);
    waitpid(pid, nullptr, 0);
    pid = 0;
  }

  LocalServer measure() { return run(loop, server.measure(pid != 0, 5s)); }

  // Measures until it holds; the last measurement, for the messages of what follows.
  LocalServer wait_for(const std::function<bool(const LocalServer&)>& holds) {
    LocalServer now;
    for (int i = 0; i < 600; ++i) {
      now = measure();
      if (holds(now)) return now;
      if (pid != 0 && waitpid(pid, nullptr, WNOHANG) == pid) {
        pid = 0;
        ADD_FAILURE() << "the server has ended; see its log";
        return now;
      }
      std::this_thread::sleep_for(50ms);
    }
    ADD_FAILURE() << "never came true: state " << static_cast<int>(now.state) << ", timeline "
                  << now.timeline << ", receiver '" << now.receiver_state << "'";
    return now;
  }

  // Through TCP with a password, as a client would.
  Result<std::vector<Rows>> sql(const Credentials& user, const std::string& text) {
    Connection connection(loop);
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    auto opened = run(loop, connection.open(client_conninfo(user), deadline));
    if (!opened) return tl::unexpected(opened.error());
    return run(loop, connection.exec(text, deadline));
  }

  std::string client_conninfo(const Credentials& user) const;
  Upstream upstream() const {
    return {server.settings().name, {"127.0.0.1", server.settings().port}};
  }

  ReservedPort port;
  boost::asio::io_context loop;
  Server server;
  pid_t pid = 0;

 private:
  static ServerSettings prepared(const std::string& directory, const MemberName& name,
                                 std::uint16_t port) {
    auto settings = settings_in(directory, name);
    settings.port = port;
    return settings;
  }
};

}  // namespace pgsteady::pg::testing
