// The command lines that the guardian runs. No password stands in any of them.
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>

#include "base/log.h"
#include "postgres/conninfo.h"
#include "postgres/files.h"
#include "postgres/impl.h"

namespace pgsteady::pg {
namespace {

// Messages in English, so that logs can be searched; times and text stay as the system has them.
std::vector<std::string> plain_messages() {
  return {"LC_MESSAGES=C"};
}

std::string source_conninfo(const ServerSettings& settings, const Upstream& from,
                            const std::string& user, const std::string& database) {
  return conninfo({{"host", from.address.host},
                   {"port", std::to_string(from.address.port)},
                   {"user", user},
                   {"dbname", database},
                   {"passfile", settings.pgpass_path},
                   {"application_name", settings.name},
                   {"connect_timeout", "5"},
                   {"keepalives_idle", "5"},
                   {"keepalives_interval", "2"},
                   {"keepalives_count", "3"}});
}

// PostgreSQL refuses a data directory that others can read.
void make_private(const std::string& data_dir) {
  if (auto made = make_directory(data_dir, 0700); !made) log_error("{}", made.error().text());
  ::chmod(data_dir.c_str(), 0700);
}

void log_if_failed(const Result<void>& result) {
  if (!result) log_error("{}", result.error().text());
}

}  // namespace

Command Server::start_command() const {
  impl_->log_mark = mark_log(impl_->log_directory());
  impl_->complaints = {};
  Command command{{impl_->program("postgres"), "-D", impl_->settings.data_dir}, {}};
  for (const auto& [name, value] : impl_->forced()) {
    command.argv.push_back(fmt::format("--{}={}", name, value));
  }
  return command;
}

Command Server::initdb_command() const {
  const auto& settings = impl_->settings;
  Command command{{impl_->program("initdb"), "-D", settings.data_dir, "-k", "--encoding=UTF8",
                   "--username=" + settings.superuser.username, "--auth-local=peer"},
                  plain_messages()};
  if (settings.superuser.password.empty()) {
    command.argv.push_back("--auth-host=reject");
  } else {
    command.argv.push_back("--auth-host=scram-sha-256");
    command.argv.push_back("--pwfile=" + impl_->initdb_password_file());
    log_if_failed(make_directory(settings.state_dir, 0700));
    log_if_failed(
        write_file(impl_->initdb_password_file(), settings.superuser.password + "\n", 0600));
  }
  const auto& more = settings.initdb_options;
  command.argv.insert(command.argv.end(), more.begin(), more.end());
  make_private(settings.data_dir);
  return command;
}

Command Server::basebackup_command(const Upstream& from) const {
  const auto& settings = impl_->settings;
  log_if_failed(write_pgpass({from.address}));
  make_private(settings.data_dir);
  return {{impl_->program("pg_basebackup"), "-D", settings.data_dir, "-X", "stream",
           "--checkpoint=fast", "--progress", "--verbose", "--no-password", "-d",
           source_conninfo(settings, from, settings.replication.username, "")},
          plain_messages()};
}

Command Server::rewind_command(const Upstream& from) const {
  const auto& settings = impl_->settings;
  log_if_failed(write_pgpass({from.address}));
  // pg_rewind first lets a crashed server recover in single-user mode, which no standby can.
  for (const char* signal : {"standby.signal", "recovery.signal"}) {
    auto removed = remove_file(impl_->in_data(signal));
    if (!removed) log_error("{}", removed.error().text());
  }
  return {{impl_->program("pg_rewind"), "-D", settings.data_dir, "--progress",
           "--source-server=" +
               source_conninfo(settings, from, rewind_credentials(settings).username, "postgres")},
          plain_messages()};
}

}  // namespace pgsteady::pg
