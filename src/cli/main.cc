#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace {

using namespace pgsteady;

struct Arguments {
  std::string config_path;
  bool validate_only = false;
  bool show_version = false;
  bool watch = false;
  cli::ListOptions list;
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

int carry_out(const CLI::App& app, Arguments& arguments) {
  if (arguments.show_version || app.got_subcommand("version")) return cli::version();
  if (app.got_subcommand("validate")) return cli::validate(arguments.config_path);
  if (app.got_subcommand("agent")) return cli::agent(arguments.config_path);
  if (app.got_subcommand("run")) {
    return arguments.validate_only ? cli::validate(arguments.config_path)
                                   : cli::run(arguments.config_path);
  }
  if (app.got_subcommand("list")) {
    if (arguments.watch && !arguments.list.watch_seconds) arguments.list.watch_seconds = 2;
    return cli::list(arguments.list);
  }
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
