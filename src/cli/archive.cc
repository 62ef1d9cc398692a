// What PostgreSQL calls: archive_command and restore_command.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "archive/wal_fetch.h"
#include "archive/wal_push.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/open_archive.h"

namespace pgsteady::cli {
namespace {

// How long a standby waits for an archive that does not answer, before it goes on by streaming.
constexpr std::chrono::seconds kStandbyPatience{10};

// PostgreSQL runs restore_command in the data directory.
std::string own_data_dir() {
  return ::access("PG_VERSION", F_OK) == 0 ? "." : "";
}

Result<void> fetch_once(const WalOptions& options, const std::string& data_dir) {
  auto opened = open_archive(options.envdir);
  if (!opened) return tl::unexpected(opened.error());
  return archive::wal_fetch(*opened->store, options.name, options.path, data_dir);
}

}  // namespace

Result<OpenArchive> open_archive(const std::string& envdir) {
  auto variables = archive::variables_of(process_environment());
  if (!envdir.empty()) {
    if (auto added = archive::add_envdir(envdir, variables); !added) {
      return tl::unexpected(added.error());
    }
  }
  auto settings = archive::read_settings(variables);
  if (!settings) return tl::unexpected(settings.error());
  auto store = archive::open_store(*settings);
  if (!store) return tl::unexpected(store.error());
  return OpenArchive{std::move(*settings), std::move(*store)};
}

int wal_push(const WalOptions& options) {
  auto opened = open_archive(options.envdir);
  if (!opened) return complain(opened.error());
  auto pushed = archive::wal_push(*opened->store, opened->settings, options.path);
  return pushed ? 0 : complain(pushed.error());
}

int wal_fetch(const WalOptions& options) {
  const auto data_dir = own_data_dir();
  const auto asker = archive::asker_of(data_dir);
  const auto deadline = boottime_now() + kStandbyPatience;
  auto fetched = fetch_once(options, data_dir);
  while (!fetched && fetched.error().kind == ErrorKind::retry && asker == archive::Asker::standby &&
         boottime_now() < deadline) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    fetched = fetch_once(options, data_dir);
  }
  if (!fetched) complain(fetched.error());
  return archive::fetch_exit_code(fetched, asker);
}

}  // namespace pgsteady::cli
