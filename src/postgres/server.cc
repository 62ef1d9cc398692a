// Configuration files, markers and the password file: what is written before a server starts.
#include "postgres/server.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <sstream>

#include "base/log.h"
#include "base/process.h"
#include "postgres/aside.h"
#include "postgres/conninfo.h"
#include "postgres/control_file.h"
#include "postgres/files.h"
#include "postgres/impl.h"

namespace pgsteady::pg {
namespace {

constexpr std::size_t kHostsLimit = 32;
constexpr std::size_t kWarningsLimit = 256;
constexpr std::size_t kReclonesLimit = 8;
constexpr std::chrono::seconds kControlDataLimit{5};

std::string name_of_os_user() {
  char buffer[4096];
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) != 0 || !found) return {};
  return found->pw_name;
}

}  // namespace

Result<std::string> read_control_data(const std::string& bin_dir, const std::string& data_dir) {
  auto run =
      run_process({bin_dir + "/pg_controldata", "-D", data_dir}, {"LC_ALL=C"}, kControlDataLimit);
  if (!run) return tl::unexpected(run.error());
  if (run->exit_code != 0) {
    return fail(ErrorKind::corrupt,
                fmt::format("pg_controldata failed for {}: {}", data_dir, run->output));
  }
  return run->output;
}

Server::Impl::Impl(boost::asio::io_context& loop_, ServerSettings settings_)
    : loop(loop_), settings(std::move(settings_)), os_user(name_of_os_user()), watch(loop_) {
  ::unlink(initdb_password_file().c_str());  // an interrupted bootstrap may have left it
}

Server::Impl::~Impl() {
  if (stop_files) *stop_files = true;
  pool.stop();
  pool.join();
}

Server::Server(boost::asio::io_context& loop, ServerSettings settings)
    : impl_(std::make_unique<Impl>(loop, std::move(settings))) {}
Server::~Server() = default;

const ServerSettings& Server::settings() const {
  return impl_->settings;
}

Result<ControlFile> Server::read_control_file() const {
  auto output = read_control_data(impl_->settings.bin_dir, impl_->settings.data_dir);
  if (!output) return tl::unexpected(output.error());
  return parse_control_data(*output);
}

Parameters Server::Impl::forced() const {
  auto result = forced_parameters(settings, cluster);
  std::error_code error;
  if (!std::filesystem::exists(in_data("standby.signal"), error)) return result;
  // A standby whose limits are below its primary's would refuse to start.
  if (auto output = read_control_data(settings.bin_dir, settings.data_dir)) {
    raise_for_standby(result, settings_in_control_data(*output));
  }
  return result;
}

Result<void> Server::Impl::keep_original_conf() const {
  const auto conf = in_data("postgresql.conf"), base = in_data(kBaseConf);
  std::error_code error;
  if (std::filesystem::exists(base, error)) return {};
  auto original = read_file(conf);
  const bool usable = original && !original->starts_with(kGeneratedLine);
  return write_file(base, usable ? *original : "# empty\n", 0600);
}

namespace {

// Signal files tell the server at its start whether to be a standby.
Result<bool> write_signals(const std::string& data_dir, bool as_standby) {
  auto recovery = remove_file(data_dir + "/recovery.signal");
  if (!recovery) return recovery;
  auto standby = as_standby ? write_if_changed(data_dir + "/standby.signal", "", 0600)
                            : remove_file(data_dir + "/standby.signal");
  if (!standby) return standby;
  return *recovery || *standby;
}

Result<bool> clean_auto_conf(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return false;
  const auto clean = without_reserved(*text);
  if (clean == *text) return false;
  log_warning("removing from {} what ALTER SYSTEM set there and pgsteady sets itself", path);
  return write_if_changed(path, clean, 0600);
}

constexpr char kClusterFile[] = "cluster.json";

}  // namespace

Result<void> Server::forget_cluster() {
  auto removed = remove_file(impl_->in_state(kClusterFile));
  if (!removed) return tl::unexpected(removed.error());
  impl_->cluster.clear();
  impl_->configured = false;
  return {};
}

Result<void> Server::Impl::know_cluster(const std::optional<boost::json::object>& now) {
  const auto path = in_state(kClusterFile);
  if (now) {
    cluster = *now;
    auto written = write_if_changed(path, boost::json::serialize(*now) + "\n", 0600);
    if (!written) return tl::unexpected(written.error());
    return {};
  }
  if (configured) return {};
  auto text = read_file(path);
  if (!text && text.error().kind == ErrorKind::not_found) return {};
  if (!text) return tl::unexpected(text.error());
  boost::system::error_code bad;
  auto value = boost::json::parse(*text, bad);
  if (bad || !value.is_object()) {
    return fail(ErrorKind::corrupt, path + " is damaged, and etcd has not been read yet",
                "it is written anew when the config key in etcd can be read; without it the server "
                "would wait for no synchronous standby");
  }
  cluster = value.get_object();
  return {};
}

Result<bool> Server::write_configuration(
    const std::optional<boost::json::object>& cluster_postgresql, bool as_standby,
    const std::optional<Upstream>& upstream) {
  const auto& settings = impl_->settings;
  // Files in an empty directory would make it look like a broken one.
  std::error_code unknown;
  if (!std::filesystem::exists(impl_->in_data("PG_VERSION"), unknown) && !unknown) {
    return fail(ErrorKind::refused, settings.data_dir + " holds no data directory");
  }
  if (auto released = release_timelines(); !released) return tl::unexpected(released.error());
  for (const auto& [path, mode] :
       {std::pair(settings.unix_socket_dir, 0755), std::pair(settings.state_dir, 0700)}) {
    auto made = make_directory(path, static_cast<mode_t>(mode));
    if (!made) return tl::unexpected(made.error());
  }
  if (auto known = impl_->know_cluster(cluster_postgresql); !known) {
    return tl::unexpected(known.error());
  }
  impl_->configured = true;
  const auto& cluster = impl_->cluster;
  std::vector<std::string> warnings;
  const auto parameters = file_parameters(settings, cluster, {as_standby, upstream}, warnings);
  for (const auto& warning : warnings) {
    if (impl_->warned.size() > kWarningsLimit) impl_->warned.clear();
    if (impl_->warned.insert(warning).second) log_warning("{}", warning);
  }
  if (auto kept = impl_->keep_original_conf(); !kept) return tl::unexpected(kept.error());
  if (upstream) {
    if (auto written = write_pgpass({upstream->address}); !written) {
      return tl::unexpected(written.error());
    }
  }
  const std::pair<const char*, std::string> files[] = {
      {"pg_ident.conf", pg_ident_conf(settings, cluster, impl_->os_user)},
      {"pg_hba.conf", pg_hba_conf(settings, cluster, impl_->os_user)},
      {"postgresql.conf", postgresql_conf(parameters)},
  };
  auto cleaned = clean_auto_conf(impl_->in_data("postgresql.auto.conf"));
  if (!cleaned) return cleaned;
  bool changed = *cleaned;
  for (const auto& [name, content] : files) {
    auto written = write_if_changed(impl_->in_data(name), content, 0600);
    if (!written) return written;
    changed = changed || *written;
  }
  auto signals = write_signals(settings.data_dir, as_standby);
  if (!signals) return signals;
  if (changed) impl_->settings_busy_until = after(std::chrono::seconds(5));
  return changed || *signals;
}

Result<void> Server::write_pgpass(const std::vector<HostPort>& hosts) const {
  const auto& settings = impl_->settings;
  auto& known = impl_->hosts;  // a server may still stream from an earlier one
  for (const auto& host : hosts) {
    known.erase(std::remove(known.begin(), known.end(), host), known.end());
    known.push_back(host);
  }
  if (known.size() > kHostsLimit) {
    known.erase(known.begin(), known.end() - static_cast<std::ptrdiff_t>(kHostsLimit));
  }
  std::string content;
  for (const auto& host : known) {
    for (const auto* user : {&settings.replication, &rewind_credentials(settings)}) {
      if (user->password.empty()) continue;
      content += fmt::format("{}:{}:*:{}:{}\n", pgpass_field(host.host), host.port,
                             pgpass_field(user->username), pgpass_field(user->password));
    }
  }
  const auto parent = std::filesystem::path(settings.pgpass_path).parent_path().string();
  if (auto made = make_directory(parent, 0700); !made) return made;
  auto written = write_if_changed(settings.pgpass_path, content, 0600);
  if (!written) return tl::unexpected(written.error());
  return {};
}

std::optional<std::string> Server::interrupted_job() const {
  auto kind = first_line(impl_->in_state("job"));
  if (kind.empty()) return std::nullopt;
  return kind;
}

Result<void> Server::set_job_marker(const std::string& kind) {
  if (auto made = make_directory(impl_->settings.state_dir, 0700); !made) return made;
  return write_file(impl_->in_state("job"), kind + "\n", 0600);
}

Result<void> Server::clear_job_marker() {
  ::unlink(impl_->initdb_password_file().c_str());
  auto removed = remove_file(impl_->in_state("job"));
  if (!removed) return tl::unexpected(removed.error());
  return {};
}

std::vector<WallTime> Server::reclones() const {
  std::vector<WallTime> times;
  std::istringstream text(read_file(impl_->in_state("reclones")).value_or(""));
  for (std::int64_t at = 0; text >> at;) times.emplace_back(std::chrono::seconds(at));
  return times;
}

Result<void> Server::note_reclone(WallTime at) {
  auto times = reclones();
  times.push_back(at);
  if (times.size() > kReclonesLimit) times.erase(times.begin());
  std::string text;
  for (const auto& time : times) {
    auto whole = std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch());
    text += std::to_string(whole.count()) + "\n";
  }
  return write_file(impl_->in_state("reclones"), text, 0600);
}

// `postgres -C` reads the configuration as a start would, and touches nothing.
awaitable<Result<void>> Server::check_configuration() {
  auto argv = start_command().argv;
  argv.insert(argv.end(), {"-C", "data_directory"});
  std::function<Result<void>()> work = [argv]() -> Result<void> {
    auto run = run_process(argv, {"LC_ALL=C"}, kControlDataLimit);
    if (!run) return tl::unexpected(run.error());
    if (run->exit_code == 0) return {};
    return fail(ErrorKind::refused, "PostgreSQL cannot read its configuration: " + run->output,
                "correct it, a new clone would not help");
  };
  auto done = co_await run_aside<Result<void>>(impl_->pool, impl_->loop, work,
                                               after(kControlDataLimit + std::chrono::seconds(1)));
  if (!done) co_return fail(ErrorKind::retry, "the configuration was not read in time");
  co_return *done;
}

namespace {

constexpr char kReserved[] = "reserved by pgsteady";
constexpr Timeline kReservedLimit = 1000;

// As PostgreSQL does with a history that it has written itself.
Result<void> archive_history(const std::string& pg_wal, const std::string& name) {
  const auto status = pg_wal + "/archive_status/" + name;
  std::error_code error;
  bool known = std::filesystem::exists(status + ".ready", error) ||
               std::filesystem::exists(status + ".done", error);
  if (known || !std::filesystem::exists(pg_wal + "/archive_status", error)) return {};
  return write_file(status + ".ready", "", 0600);
}

}  // namespace

Result<void> Server::reserve_timelines(Timeline own, Timeline newest) const {
  if (own == 0 || newest <= own) return {};
  if (newest - own > kReservedLimit) {
    return fail(ErrorKind::refused,
                fmt::format("timeline {} is said to exist, and this server is on {}", newest, own),
                "look at the history key in etcd");
  }
  for (Timeline timeline = own + 1; timeline <= newest; ++timeline) {
    const auto path = impl_->in_data("pg_wal/" + history_file_name(timeline));
    if (!first_line(path).empty()) continue;
    // A switch before everything that any server has replayed: nobody follows it.
    auto written = write_file(path, fmt::format("{}\t0/1\t{}\n", own, kReserved), 0600);
    if (!written) return written;
  }
  return {};
}

// PostgreSQL looks for the newest timeline one by one, and asks a primary for each history between
// its own and that one's: those before a real one have to stay, and to be in the archive as well.
Result<void> Server::release_timelines() const {
  const auto pg_wal = impl_->in_data("pg_wal");
  std::vector<std::string> reserved;
  std::string newest;  // history that is one; the names sort by number
  std::error_code error;
  for (std::filesystem::directory_iterator file(pg_wal, error), end; !error && file != end;
       file.increment(error)) {
    const auto name = file->path().filename().string();
    if (!name.ends_with(".history")) continue;
    if (first_line(file->path().string()).ends_with(kReserved)) {
      reserved.push_back(name);
    } else {
      newest = std::max(newest, name);
    }
  }
  for (const auto& name : reserved) {
    if (name < newest) {
      if (auto kept = archive_history(pg_wal, name); !kept) return kept;
    } else if (auto removed = remove_file(fmt::format("{}/{}", pg_wal, name)); !removed) {
      return tl::unexpected(removed.error());
    }
  }
  return {};
}

// PostgreSQL only looks whether it is there; a failover need not wait for an fsync.
Result<void> Server::write_promote_file() const {
  return create_file(impl_->in_data("promote"), 0600);
}

}  // namespace pgsteady::pg
