// The SQL side of a base backup: one session, from pg_backup_start to pg_backup_stop. Blocks.
#pragma once

#include <boost/asio/io_context.hpp>
#include <string>

#include "base/types.h"
#include "postgres/connection.h"

namespace pgsteady::archive {

struct BackupStart {
  Lsn lsn;
  Timeline timeline = 0;
  SystemId system;
  std::uint64_t segment_bytes = 0;
  int pg_version = 0;
  bool checksums = false;
  bool in_recovery = false;  // a standby
};

struct BackupStop {
  Lsn lsn;
  std::string label, tablespace_map;  // the content of backup_label and tablespace_map
};

// When it goes before stop(), the server gives the backup up.
class BackupSession {
 public:
  BackupSession() : connection_(loop_) {}

  // `conninfo` as libpq's; what it leaves out comes from PGHOST and its like. PostgreSQL 15 or
  // newer.
  Result<void> open(const std::string& conninfo);
  Result<BackupStart> start();  // after a fast checkpoint
  // Does not wait for the archiver: whoever knows the archive looks there.
  Result<BackupStop> stop();

 private:
  Result<pg::Rows> query(const std::string& sql);

  boost::asio::io_context loop_;
  pg::Connection connection_;
};

}  // namespace pgsteady::archive
