#include <CLI/CLI.hpp>
#include <map>

#include "cli/commands.h"

namespace {

using namespace pgsteady;

struct Arguments {
  std::string config_path;
  bool validate_only = false;
  bool show_version = false;
  bool watch = false;
  cli::ListOptions list;
  cli::WalOptions wal;
  cli::BackupOptions backup;
  cli::OperateOptions operate;
};

void add_run(CLI::App& app, Arguments& arguments) {
  auto* run = app.add_subcommand("run", "run a node in the foreground, until SIGTERM or SIGINT");
  run->add_option("config", arguments.config_path, "a Patroni YAML file")->required();
  run->add_flag("--validate-config", arguments.validate_only, "only check the configuration");
  auto* validate = app.add_subcommand("validate", "check a configuration and say what was found");
  validate->add_option("config", arguments.config_path, "a Patroni YAML file")->required();
  auto* agent = app.add_subcommand("agent", "what the guardian starts")->group("");
  agent->add_option("config", arguments.config_path)->required();
}

void add_list(CLI::App& app, Arguments& arguments) {
  auto& options = arguments.list;
  auto* list = app.add_subcommand("list", "show a cluster's members");
  list->add_option("-c,--config-file", options.config_path, "a node's file or a patronictl.yaml");
  list->add_option("-d,--dcs-url", options.dcs_url, "etcd as HOST:PORT[,HOST:PORT...]");
  list->add_option("-f,--format", options.format, "pretty, json, yaml or tsv")
      ->check(CLI::IsMember({"pretty", "json", "yaml", "yml", "tsv"}));
  list->add_flag("-e,--extended", options.extended, "show all columns");
  list->add_flag("-W", arguments.watch, "show again every 2 seconds");
  list->add_option("-w,--watch", options.watch_seconds, "show again every so many seconds")
      ->check(CLI::PositiveNumber);
  list->add_option("scope", options.scopes, "the clusters; without one, the file's");
}

void add_archive(CLI::App& app, Arguments& arguments) {
  auto& options = arguments.wal;
  auto* push = app.add_subcommand("wal-push", "archive a WAL file, for archive_command");
  push->add_option("path", options.path, "the file, PostgreSQL's %p")->required();
  auto* fetch = app.add_subcommand("wal-fetch", "restore a WAL file, for restore_command");
  fetch->add_option("name", options.name, "its name, PostgreSQL's %f")->required();
  fetch->add_option("path", options.path, "where to, PostgreSQL's %p")->required();
  for (auto* command : {push, fetch}) {
    command->add_option("--envdir", options.envdir, "a directory with a file per variable");
  }
}

void add_restoring(CLI::App& app, cli::BackupOptions& options) {
  auto* fetch = app.add_subcommand("backup-fetch", "restore a base backup into an empty directory");
  fetch->add_option("directory", options.data_dir)->required();
  fetch->add_option("name", options.name, "a backup's name or LATEST");
  auto* restore = app.add_subcommand("restore", "make a directory that recovers from the archive");
  restore->add_option("--to", options.data_dir, "an empty directory")->required();
  restore->add_option("--target-time", options.target_time,
                      "stop there: '2026-11-22 14:03:00+00'; without it, recover everything");
  restore->add_option("--target-action", options.target_action, "promote, pause or shutdown")
      ->check(CLI::IsMember({"promote", "pause", "shutdown"}));
  restore->add_flag("--dry-run", options.dry_run, "only say what would be used");
  for (auto* command : {fetch, restore}) {
    command->add_option("--tablespace-mapping", options.tablespaces, "OLD=NEW, may be repeated");
    command->add_option("--envdir", options.envdir, "a directory with a file per variable");
  }
}

void add_backups(CLI::App& app, cli::BackupOptions& options) {
  auto* push = app.add_subcommand("backup-push", "take a base backup of the running server");
  push->add_option("directory", options.data_dir, "its data directory")->required();
  push->add_flag("--permanent", options.permanent, "mark it as one that retention keeps");
  push->add_option("--wal-limit", options.wal_limit_seconds,
                   "seconds that the backup's WAL may take into the archive");
  auto* list = app.add_subcommand("backup-list", "show the base backups in the archive");
  list->add_flag("--json", options.as_json, "as JSON, as WAL-G has it");
  list->add_flag("--tsv", options.as_tsv, "as WAL-E had it");
  list->add_flag("--detail", options.detail, "show all columns");
  for (auto* command : {push, list}) {
    command->add_option("--envdir", options.envdir, "a directory with a file per variable");
  }
  add_restoring(app, options);
}

CLI::App* add_operation(CLI::App& app, cli::OperateOptions& options, const char* name,
                        const char* what) {
  auto* command = app.add_subcommand(name, what);
  command->add_option("-c,--config-file", options.config_path,
                      "a node's file or a patronictl.yaml");
  command->add_option("-d,--dcs-url", options.dcs_url, "etcd as HOST:PORT[,HOST:PORT...]");
  return command;
}

void add_scope(CLI::App* command, cli::OperateOptions& options) {
  command->add_option("scope", options.scope, "the cluster; without it, the file's");
}

void add_force(CLI::App* command, cli::OperateOptions& options) {
  command->add_flag("--force", options.force, "do not ask for confirmation");
}

void add_take_overs(CLI::App& app, cli::OperateOptions& options) {
  auto* switchover = add_operation(app, options, "switchover", "have another member lead");
  switchover->add_option("--leader,--primary", options.leader, "who leads now");
  switchover->add_option("--scheduled", options.scheduled, "when, with time zone, or now");
  auto* failover = add_operation(app, options, "failover", "have a named member lead");
  for (auto* command : {switchover, failover}) {
    command->add_option("--candidate", options.candidate, "who is to lead");
    command->add_flag("--accept-loss", options.accept_loss,
                      "take the candidate although WAL would be lost");
    add_force(command, options);
    add_scope(command, options);
  }
  for (auto* command : {add_operation(app, options, "pause", "decide nothing until it is resumed"),
                        add_operation(app, options, "resume", "end a pause")}) {
    command->add_flag("--wait", options.wait, "until all members have taken notice");
    add_scope(command, options);
  }
}

void add_member_operations(CLI::App& app, cli::OperateOptions& options) {
  auto* restart = add_operation(app, options, "restart", "restart members' PostgreSQL");
  restart->add_option("--scheduled", options.scheduled, "when, with time zone, or now");
  restart->add_option("--pg-version", options.pg_version, "only those below this version");
  restart->add_flag("--pending", options.pending, "only where a restart is pending");
  restart->add_option("--timeout", options.timeout, "for the server to answer again");
  auto* reload = add_operation(app, options, "reload", "have members read their files anew");
  for (auto* command : {restart, reload}) {
    command->add_option("-r,--role", options.role, "only these")
        ->check(CLI::IsMember({"leader", "primary", "replica", "any"}));
  }
  auto* reinit = add_operation(app, options, "reinit", "clone replicas anew");
  for (auto* command : {restart, reload, reinit}) {
    add_force(command, options);
    command->add_option("scope", options.scope, "the cluster")->required();
    command->add_option("members", options.members,
                        command == reinit ? "at least one" : "without any: all");
  }
}

int operate(const CLI::App& app, const cli::OperateOptions& options, bool& known) {
  using Operation = int (*)(const cli::OperateOptions&);
  static const std::map<std::string, Operation> operations = {
      {"switchover", cli::switchover}, {"failover", cli::failover}, {"pause", cli::pause},
      {"resume", cli::resume},         {"restart", cli::restart},   {"reinit", cli::reinit},
      {"reload", cli::reload}};
  for (const auto& [name, operation] : operations) {
    known = app.got_subcommand(name);
    if (known) return operation(options);
  }
  return 0;
}

int carry_out(const CLI::App& app, Arguments& arguments) {
  if (arguments.show_version || app.got_subcommand("version")) return cli::version();
  if (app.got_subcommand("validate")) return cli::validate(arguments.config_path);
  if (app.got_subcommand("agent")) return cli::agent(arguments.config_path);
  if (app.got_subcommand("run")) {
    return arguments.validate_only ? cli::validate(arguments.config_path)
                                   : cli::run(arguments.config_path);
  }
  if (app.got_subcommand("wal-push")) return cli::wal_push(arguments.wal);
  if (app.got_subcommand("wal-fetch")) return cli::wal_fetch(arguments.wal);
  if (app.got_subcommand("backup-push")) return cli::backup_push(arguments.backup);
  if (app.got_subcommand("backup-fetch")) return cli::backup_fetch(arguments.backup);
  if (app.got_subcommand("backup-list")) return cli::backup_list(arguments.backup);
  if (app.got_subcommand("restore")) return cli::restore(arguments.backup);
  if (app.got_subcommand("list")) {
    if (arguments.watch && !arguments.list.watch_seconds) arguments.list.watch_seconds = 2;
    return cli::list(arguments.list);
  }
  bool known = false;
  int code = operate(app, arguments.operate, known);
  if (known) return code;
  std::cerr << app.help();
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"pgsteady: PostgreSQL that stays up", "pgsteady"};
  Arguments arguments;
  app.add_flag("--version", arguments.show_version, "print the version");
  app.add_subcommand("version", "print the version");
  add_run(app, arguments);
  add_list(app, arguments);
  add_archive(app, arguments);
  add_backups(app, arguments.backup);
  add_take_overs(app, arguments.operate);
  add_member_operations(app, arguments.operate);
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
    return carry_out(app, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::cerr << "pgsteady: " << error.what() << "\n";
    return 1;
  }
}
