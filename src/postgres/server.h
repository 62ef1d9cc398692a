// One local PostgreSQL server: its files, its processes' command lines, and what can be asked of it
// over SQL. It starts nothing itself: commands are handed to the guardian by the agent.
//
// Threads: all of it belongs to the loop's thread. The coroutines never block it, each has a
// deadline and gives ErrorKind::retry when it passes. The plain functions touch local files only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/local_server.h"
#include "cluster/server_settings.h"

namespace pgsteady::pg {

using boost::asio::awaitable;

struct Command {
  std::vector<std::string> argv;         // argv[0] an absolute path
  std::vector<std::string> environment;  // "KEY=value"
};

// Where a standby streams from.
struct Upstream {
  MemberName name;  // of the member, for the slot and the log
  HostPort address;
  bool use_slot = true;  // stream through the slot of this node's name that the upstream keeps
  bool operator==(const Upstream&) const = default;
};

// "a_b" for member "A-b": Patroni's rule, lower case, [a-z0-9_] kept, "-" and "." → "_", others as
// u + decimal code point, at most 63 bytes.
std::string slot_name(const MemberName& member);

class Server {
 public:
  Server(boost::asio::io_context& loop, ServerSettings settings);
  ~Server();

  const ServerSettings& settings() const;

  // --- files -------------------------------------------------------------------------------------
  DataDirectory look_at_data_directory() const;
  Result<ControlFile> read_control_file() const;  // runs pg_controldata, 5 s at most
  // Writes postgresql.conf (from the node's and the cluster's parameters; the original is kept as
  // postgresql.base.conf and included), pg_hba.conf, pg_ident.conf, and standby.signal with
  // primary_conninfo or neither. Atomic per file. `upstream` nullopt with as_standby: a standby
  // that streams from nobody. `cluster_postgresql` nullopt: it is not known yet, and stays what it
  // was the last time, also of an earlier process: a server that starts while etcd is away has to
  // wait for the same standbys and serve as many clients as before. Returns whether anything
  // changed.
  Result<bool> write_configuration(const std::optional<boost::json::object>& cluster_postgresql,
                                   bool as_standby, const std::optional<Upstream>& upstream);
  // There was another cluster here: its settings are nobody's.
  Result<void> forget_cluster();
  // Whether an interrupted clone, rewind or bootstrap left its marker; the marker's kind.
  std::optional<std::string> interrupted_job() const;
  Result<void> set_job_marker(const std::string& kind);
  Result<void> clear_job_marker();
  // When this node was cloned anew of its own accord, the newest few; a file in state_dir, so that
  // an agent that is started again goes on counting.
  std::vector<WallTime> reclones() const;
  Result<void> note_reclone(WallTime at);
  // Moves aside or removes the data directory's content so that a clone can start. Refuses while a
  // postmaster runs there. WAL that only this node has is kept under state_dir/diverged first.
  // Of what a clone or initdb left `unfinished`, nothing is kept unless it has a pg_control.
  // Runs beside the loop, an hour at most; called again after an end in the midst, it goes on.
  awaitable<Result<void>> clear_data_directory(std::string why, bool unfinished);
  // Copies that WAL to the same place, before a rewind changes the directory. Likewise. Segments
  // that end at `parted_at` or before it are left out: others have them.
  awaitable<Result<void>> keep_diverged_wal(std::string why, std::optional<Lsn> parted_at);
  // A promotion takes the first timeline after its own that has no history file here. Puts one
  // there for each up to `newest`, of which this server may never have heard; it cannot be mistaken
  // for a history to follow. release_timelines() removes them, as does write_configuration(), but
  // for those before a real one: a standby has to find them on its way to that.
  Result<void> reserve_timelines(Timeline own, Timeline newest) const;
  Result<void> release_timelines() const;
  // Triggers promotion: writes the promote file. The caller then sends SIGUSR1 to the postmaster,
  // and repeats both while the server stays in recovery.
  Result<void> write_promote_file() const;

  // --- command lines -----------------------------------------------------------------------------
  Command start_command() const;  // postgres -D ..., with what must be equal on all nodes forced
  Command initdb_command() const;
  Command basebackup_command(const Upstream& from) const;  // --progress, -X stream, no slot kept
  Command rewind_command(const Upstream& from) const;
  Result<void> write_pgpass(const std::vector<HostPort>& hosts) const;  // 0600, for the commands

  // --- SQL ---------------------------------------------------------------------------------------
  // Measures everything of LocalServer that `running` concerns; opens or reopens its connection by
  // itself. `process_alive` comes from the guardian. A server that refuses connections because it
  // starts up gives `starting`; one that answered before and does not within the limit, `hung`; one
  // that answered before and refuses us alone, what was measured then (measured_at tells when).
  awaitable<LocalServer> measure(bool process_alive, std::chrono::milliseconds limit);
  // After initdb and the first start as a primary: users, passwords, grants for rewind. Idempotent.
  awaitable<Result<void>> create_users(std::chrono::milliseconds limit);
  awaitable<Result<void>> checkpoint(std::chrono::milliseconds limit);
  // A tiny transaction that waits for this server's disk alone. False: it was not done in time.
  awaitable<Result<bool>> commit(std::chrono::milliseconds limit);
  // Makes the physical slots of these members (immediately reserving) and, if asked to, drops our
  // other inactive ones. Slots keep at most max_slot_wal_keep_size of WAL, which
  // write_configuration sets.
  awaitable<Result<void>> sync_slots(const std::vector<MemberName>& members,
                                     std::chrono::milliseconds limit, bool drop = true);
  // Asks a primary elsewhere for the timeline in its control file (as the rewind user): a rewind
  // has to wait until that equals its timeline.
  awaitable<Result<Timeline>> control_timeline_of(const Upstream& primary,
                                                  std::chrono::milliseconds limit);
  // Asks it (as the same user) whether the segment that follows `lsn` is still there.
  awaitable<Result<bool>> has_wal_after(const Upstream& primary, Lsn lsn,
                                        std::chrono::milliseconds limit);
  // Asks any server (as the replication user, as a base backup does) which cluster it is of.
  awaitable<Result<SystemId>> system_id_of(const Upstream& source, std::chrono::milliseconds limit);
  // Whether the server can read its configuration; refused with what it says.
  awaitable<Result<void>> check_configuration();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgsteady::pg
