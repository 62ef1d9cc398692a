// The verbs. Each returns the process's exit code: 0 done, 1 failed, 2 wrong usage.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pgsteady::cli {

// Becomes the guardian; returns only when that is not possible.
int run(const std::string& config_path);
// Prints all findings; 1 when one of them is an error.
int validate(const std::string& config_path);
// What the guardian starts: the agent and its REST interface.
int agent(const std::string& config_path);
int version();

struct ListOptions {
  std::string config_path;  // empty: PATRONICTL_CONFIG_FILE, then patronictl's own default
  std::string dcs_url;      // over the file
  std::string format = "pretty";
  std::vector<std::string> scopes;  // empty: the file's
  bool extended = false;
  std::optional<double> watch_seconds;
};
int list(const ListOptions& options);

struct WalOptions {
  std::string envdir;  // a directory of variables, over the environment; may be empty
  std::string name;    // of the archived file; wal_fetch only
  std::string path;    // of the local one
};
// archive_command and restore_command; their exit codes are what PostgreSQL goes by.
int wal_push(const WalOptions& options);
int wal_fetch(const WalOptions& options);

struct BackupOptions {
  std::string envdir;
  std::string data_dir;
  std::string name = "LATEST";
  bool permanent = false;
  int wal_limit_seconds = 120;           // for the backup's WAL to arrive in the archive
  std::vector<std::string> tablespaces;  // "OLD=NEW"
  std::string target_time, target_action = "promote";
  bool dry_run = false;
  bool as_json = false, as_tsv = false, detail = false;
};
int backup_push(const BackupOptions& options);  // 1 also when pages of the server are damaged
int backup_fetch(const BackupOptions& options);
int backup_list(const BackupOptions& options);
// A directory that recovers to a point in time when a server is started in it.
int restore(const BackupOptions& options);

// What operators ask for by hand; patronictl's options.
struct OperateOptions {
  std::string config_path, dcs_url, scope;
  std::vector<std::string> members;
  std::string leader, candidate, scheduled;
  std::string role, timeout, pg_version;
  bool pending = false;
  bool force = false;        // do not ask
  bool accept_loss = false;  // take the candidate although WAL would be lost
  bool wait = false;
};
int switchover(const OperateOptions& options);
int failover(const OperateOptions& options);
int restart(const OperateOptions& options);
int reinit(const OperateOptions& options);
int reload(const OperateOptions& options);
int pause(const OperateOptions& options);
int resume(const OperateOptions& options);

}  // namespace pgsteady::cli
