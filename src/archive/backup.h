// What the archive knows about base backups: WAL-G's sentinels, and WAL-E's.
#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <vector>

#include "archive/settings.h"
#include "base/types.h"

namespace pgsteady::archive {

constexpr char kBackupFolder[] = "basebackups_005/";

struct Tablespace {
  std::string oid;
  std::string location;  // where the link pg_tblspc/OID led to
};

struct PartSum {
  std::uint64_t size_bytes = 0;
  std::string sha256;
};

struct Backup {
  std::string name;       // "base_000000010000000000000002"; opaque
  WallTime modified{};    // of the sentinel
  bool by_wal_e = false;  // then of the following only `uncompressed_bytes` is known
  Lsn start_lsn, finish_lsn;
  Timeline timeline = 0;  // of the WAL at its start, from the name
  int pg_version = 0;     // 150018
  SystemId system;
  std::string start_time, finish_time;  // "2026-11-22T14:03:00.123456Z"
  std::string hostname, data_dir;
  std::uint64_t uncompressed_bytes = 0, compressed_bytes = 0;
  bool permanent = false;
  std::string base_of_delta;  // not empty: this one holds only what changed since that backup
  std::vector<Tablespace> tablespaces;
  std::map<std::string, PartSum> parts;   // object name → checksum; empty in WAL-G's own backups
  std::string stop_segment, stop_offset;  // WAL-E's, as it writes them
};

std::string sentinel_key(const std::string& name);

// As WAL-G has them; `backup.parts` is ours, in fields that WAL-G passes over.
boost::json::object sentinel_of(const Backup& backup);
boost::json::object metadata_of(const Backup& backup);
// corrupt when it is no sentinel.
Result<Backup> parse_sentinel(const std::string& name, const std::string& text);

// All backups that have a sentinel, oldest first. A sentinel that can't be read is an error.
Result<std::vector<Backup>> list_backups(store::ObjectStore& store);
// `name` may be LATEST. not_found when there is none.
Result<Backup> find_backup(store::ObjectStore& store, const std::string& name);

}  // namespace pgsteady::archive
