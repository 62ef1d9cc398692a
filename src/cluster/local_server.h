// What one node's own PostgreSQL looks like at a moment: facts only, each as measured.
#pragma once

#include <algorithm>
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
  unknown,  // not looked at yet, or it cannot be read
  empty,    // missing or without files
  valid,    // PG_VERSION and global/pg_control are there, whatever is in them
  broken,   // files, but no server can start from them (an interrupted clone, garbage)
};

// pg_control, as pg_controldata tells it.
struct ControlFile {
  SystemId system_id;
  std::string state;  // "in production", "shut down", "shut down in recovery", ...
  Timeline timeline = 0;
  Lsn checkpoint;    // latest checkpoint location
  Lsn min_recovery;  // a standby is consistent from there on
  bool checksums = false;
  bool wal_log_hints = false;
  Timeline min_recovery_timeline = 0;  // of that position, 0 when there is none
  // A clone or a rewind, to which PostgreSQL has not yet added the WAL that makes it whole.
  bool within_backup = false;

  bool operator==(const ControlFile&) const = default;
  // A server that is stopped in the middle of its crash recovery writes "shut down in recovery"
  // too, and no position at which its pages are consistent.
  bool stopped_in_crash_recovery() const {
    return state == "shut down in recovery" && min_recovery.value == 0;
  }
  bool cleanly_shut_down() const {
    return state == "shut down" || (state == "shut down in recovery" && min_recovery.value != 0);
  }
  Timeline newest_timeline() const { return std::max(timeline, min_recovery_timeline); }
  Lsn newest_lsn() const { return std::max(checkpoint, min_recovery); }
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
  // Likewise the last in which the upstream server denied it WAL, and where in the log it stands.
  std::string refusal;
  std::uint64_t refused_at = 0;
  // Of a standby while it starts up, from the titles of its processes; empty: not known.
  std::string recovering;  // the WAL segment that it replays or looks for
  bool receiving = false;  // WAL has streamed in

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
  bool restores = false;       // standby with a restore_command
  std::string upstream;        // host:port of primary_conninfo as it is set now, empty when cut
  std::vector<TimelineSwitch> history;  // own timeline's; while stopped that of the control file's
  std::string start_time;               // postmaster's, Patroni's format
  int version = 0;                      // 150018
  SystemId system_id;
  SettingChanges pending_restart;
  std::vector<ReplicationRow> replication;
  std::string sync_names;           // primary: synchronous_standby_names as a session sees it
  bool checkpointer_waits = false;  // and no reload of the configuration can be pending with it
  std::vector<SlotRow> slots;

  bool is_primary() const { return state == ServerState::running && !in_recovery; }
  bool is_standby() const { return state == ServerState::running && in_recovery; }
  // Patroni's words for where a standby's WAL comes from; empty: nowhere, or of no standby.
  std::string replication_state() const {
    if (!is_standby()) return "";
    if (receiver_state == "streaming") return "streaming";
    return restores && receiver_state.empty() ? "in archive recovery" : "";
  }
  // How far this server's WAL reaches: what a race compares.
  Lsn last_lsn() const {
    if (is_primary()) return write_lsn;
    return receive_lsn > replay_lsn ? receive_lsn : replay_lsn;
  }
};

}  // namespace pgsteady
