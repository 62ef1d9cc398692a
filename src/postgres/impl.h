// The server's inside, shared by the files that implement its parts. Nobody else includes it.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <set>

#include "postgres/configuration.h"
#include "postgres/connection.h"
#include "postgres/server.h"
#include "postgres/server_log.h"
#include "postgres/titles.h"

namespace pgsteady::pg {

class Server::Impl {
 public:
  Impl(boost::asio::io_context& loop_, ServerSettings settings_);
  ~Impl();

  std::string in_data(const std::string& name) const { return settings.data_dir + "/" + name; }
  std::string in_state(const std::string& name) const { return settings.state_dir + "/" + name; }
  std::string program(const std::string& name) const { return settings.bin_dir + "/" + name; }
  std::string initdb_password_file() const { return in_state("initdb.password"); }

  Parameters forced() const;  // what start_command() forces, raised for a standby
  // The agent's own way into the local server; `more` are further -c options.
  std::string local_conninfo(const std::string& more = {}) const;
  Result<void> keep_original_conf() const;
  // Takes the cluster's settings, or those that were written down the last time.
  Result<void> know_cluster(const std::optional<boost::json::object>& now);
  bool server_process_alive() const;  // postmaster.pid names a live process
  // Runs it on the pool; it must end soon after its flag is set. One at a time.
  awaitable<Result<void>> work_on_files(
      std::function<Result<void>(const std::shared_ptr<std::atomic<bool>>& stop)> work);

  // --- changing (administer.cc) ------------------------------------------------------------------
  awaitable<Result<void>> create_role(Connection& connection, Credentials user, std::string options,
                                      Deadline deadline);
  std::set<std::string> known_slots() const;  // made by this node, from state_dir/slots
  Result<void> remember_slots(const std::set<std::string>& names) const;
  // Without a database: for replication commands.
  awaitable<Result<void>> open_elsewhere(Connection& connection, const Upstream& server,
                                         Credentials user, const char* database, Deadline deadline);

  // --- measuring (measure.cc) --------------------------------------------------------------------
  awaitable<void> measure_running(LocalServer& result, Deadline deadline);
  awaitable<bool> connect(LocalServer& result, Deadline deadline);
  awaitable<Result<void>> ask(LocalServer& result, Deadline deadline);
  awaitable<void> ask_replay_timeline(LocalServer& result, Deadline deadline);
  awaitable<std::optional<ControlFile>> control_file(Deadline deadline);
  awaitable<void> listen_to_complaints(LocalServer& result, Deadline deadline);
  awaitable<void> look_at_recovery(LocalServer& result);
  void failed(LocalServer& result, const Error& error, bool late);
  void read_settings(const Rows& rows);
  void add_history(LocalServer& result, Timeline timeline);
  void forget_process();

  boost::asio::io_context& loop;
  const ServerSettings settings;
  const std::string os_user;
  mutable boost::asio::thread_pool pool{3};  // for what may block; see aside.h
  std::shared_ptr<std::atomic<bool>> files_busy = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<std::atomic<bool>> stop_files;  // of the latest such work

  boost::json::object cluster;           // as last given to write_configuration
  bool configured = false;               // write_configuration ran in this process
  mutable std::set<std::string> warned;  // warnings that were logged already
  mutable std::vector<HostPort> hosts;   // in the password file, the latest last

  Connection watch;          // kept open, for measuring
  bool answered = false;     // the present server process answered a query
  LocalServer last;          // as it answered then
  std::string postmaster;    // its pid, as postmaster.pid tells it
  std::string last_problem;  // logged; so that it is not logged every second
  std::string start_time;
  SystemId system_id;
  std::optional<ControlFile> control;
  SettingChanges pending_restart;
  std::chrono::steady_clock::time_point settings_due{};
  std::chrono::steady_clock::time_point settings_busy_until{};  // look often after a change
  Timeline receiver_timeline = 0;  // the newest that this server process received
  Timeline replay_timeline = 0;    // as last asked, when the LSNs were those:
  Lsn replay_asked_at, receive_asked_at;
  mutable LogMark log_mark;  // of the server's log when it was started last
  std::string log_directory() const;
  Complaints complaints;
  bool was_alive = false;  // when it was measured last
  LocalServer looked;      // what its files told last
  std::chrono::nanoseconds look_due{};
  std::chrono::steady_clock::time_point complaint_due{}, recovery_due{};
  RecoveryTitles titles;  // of a standby that starts
  Timeline history_of = 0;
  std::vector<TimelineSwitch> history;
};

// pg_controldata's output. Blocks, 5 s at most.
Result<std::string> read_control_data(const std::string& bin_dir, const std::string& data_dir);

// Blocks for as long as the disk does.
DataDirectory look_at(const std::string& data_dir);

// A deadline that far from now.
inline Deadline after(std::chrono::milliseconds limit) {
  return std::chrono::steady_clock::now() + limit;
}

}  // namespace pgsteady::pg
