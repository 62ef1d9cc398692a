// What one node's own PostgreSQL looks like at a moment: facts only, each as measured.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/types.h"
#include "cluster/view.h"

namespace pgsteady {

enum class DataDirectory {
  unknown,  // not looked at yet
  empty,    // missing or without files
  valid,    // PG_VERSION and global/pg_control are there and read well
  broken,   // files, but no server can start from them (an interrupted clone, garbage)
};

// pg_control, as pg_controldata tells it.
struct ControlFile {
  SystemId system_id;
  std::string state;  // "in production", "shut down", "shut down in recovery", ...
  Timeline timeline = 0;
  Lsn checkpoint;  // latest checkpoint location
  Lsn min_recovery;
  bool checksums = false;
  bool wal_log_hints = false;

  bool operator==(const ControlFile&) const = default;
  bool cleanly_shut_down() const {
    return state == "shut down" || state == "shut down in recovery";
  }
  bool was_primary() const {
    return state == "in production" || state == "shut down" || state == "shutting down" ||
           state == "in crash recovery";
  }
};

enum class ServerState {
  stopped,   // no process
  starting,  // a process, no connection accepted yet (crash recovery counts as this)
  running,   // answers queries
  hung,      // a process that took connections before and has not answered for a while
};

struct ReplicationRow {  // pg_stat_replication
  std::string user;
  std::string application_name;
  std::string client_addr;
  std::string state;
  std::string sync_state;
  int sync_priority = 0;
  std::optional<Lsn> flush_lsn;
  bool operator==(const ReplicationRow&) const = default;
};

struct SlotRow {  // pg_replication_slots
  std::string name;
  bool physical = true;
  bool active = false;
  bool lost = false;  // its WAL is gone
  std::optional<Lsn> restart_lsn;
  bool operator==(const SlotRow&) const = default;
};

struct LocalServer {
  std::chrono::nanoseconds measured_at{};  // boottime
  DataDirectory data = DataDirectory::unknown;
  bool standby_signal = false;         // standby.signal stands in the data directory
  std::optional<ControlFile> control;  // read while the server is stopped, and after a start
  ServerState state = ServerState::stopped;
  // The last FATAL or PANIC line of the server's log since its last start, while it does not run;
  // empty when there is none or the log is elsewhere.
  std::string complaint;

  // Valid while running:
  bool in_recovery = false;
  Timeline timeline = 0;
  Lsn write_lsn;              // primary: pg_current_wal_lsn
  Lsn insert_lsn, flush_lsn;  // primary: of its WAL in memory, and what is safe on disk
  Lsn receive_lsn;            // standby: pg_last_wal_receive_lsn (0: nothing received since start)
  Lsn replay_lsn;             // standby: pg_last_wal_replay_lsn
  std::string replay_timestamp;  // of the last replayed commit, Patroni's format, may be empty
  bool replay_paused = false;
  bool replaying = false;      // standby without a receiver that has local WAL left to replay
  std::string receiver_state;  // pg_stat_wal_receiver.status, empty when there is no receiver
  std::string upstream;        // host:port of primary_conninfo as it is set now, empty when cut
  std::vector<TimelineSwitch> history;  // own timeline's; while stopped that of the control file's
  std::string start_time;               // postmaster's, Patroni's format
  std::chrono::nanoseconds started_at{};  // boottime of the process's start
  int version = 0;                        // 150018
  SystemId system_id;
  bool pending_restart = false;
  std::vector<ReplicationRow> replication;
  std::string sync_names;           // primary: synchronous_standby_names as a session sees it
  bool checkpointer_waits = false;  // and no reload of the configuration can be pending with it
  std::vector<SlotRow> slots;

  bool is_primary() const { return state == ServerState::running && !in_recovery; }
  bool is_standby() const { return state == ServerState::running && in_recovery; }
  // How far this server's WAL reaches: what a race compares.
  Lsn last_lsn() const {
    if (is_primary()) return write_lsn;
    return receive_lsn > replay_lsn ? receive_lsn : replay_lsn;
  }
};

}  // namespace pgsteady
