// What the running server says of itself: one round trip a time over a connection that is kept
// open.
#include <cctype>
#include <filesystem>

#include "base/log.h"
#include "postgres/aside.h"
#include "postgres/conninfo.h"
#include "postgres/control_file.h"
#include "postgres/files.h"
#include "postgres/impl.h"

namespace pgsteady::pg {
namespace {

constexpr std::chrono::seconds kSettingsInterval{10};
constexpr std::chrono::seconds kBetweenLooks{3};  // at the files of a server that runs

// Once for each connection.
constexpr char kIdentityQuery[] =
    "SELECT to_char(pg_postmaster_start_time(), 'YYYY-MM-DD HH24:MI:SS.US+00:00'),"
    " system_identifier FROM pg_control_system();";

// Prepared once for each connection: planning would cost more than asking. A function of pg_catalog
// is asked where the view over it would join more than is needed.
constexpr char kPrepare[] =
    "PREPARE own_state AS"
    " SELECT r, CASE WHEN r THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,"
    " CASE WHEN r THEN NULL ELSE pg_current_wal_lsn() END,"
    " pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),"
    " to_char(pg_last_xact_replay_timestamp(), 'YYYY-MM-DD HH24:MI:SS.US+00:00'),"
    " CASE WHEN r THEN pg_is_wal_replay_paused() END, w.status, w.received_tli,"
    " current_setting('primary_conninfo'),"
    // Its replay waits for more WAL: it has come to the end of what is there.
    " CASE WHEN r AND w.status IS NULL THEN NOT EXISTS"
    " (SELECT FROM pg_stat_get_activity(NULL) WHERE backend_type = 'startup' AND"
    " wait_event IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')) END,"
    " CASE WHEN r THEN NULL ELSE pg_current_wal_insert_lsn() END,"
    " CASE WHEN r THEN NULL ELSE pg_current_wal_flush_lsn() END,"
    " current_setting('synchronous_standby_names'),"
    // Where it waits, the checkpointer takes a new configuration at once.
    " CASE WHEN NOT r THEN EXISTS"
    " (SELECT FROM pg_stat_get_activity(NULL) WHERE backend_type = 'checkpointer' AND"
    " wait_event IN ('CheckpointerMain', 'CheckpointWriteDelay')) END,"
    " current_setting('restore_command') <> ''"
    " FROM (SELECT pg_is_in_recovery() AS r) AS s"
    " LEFT JOIN pg_stat_get_wal_receiver() AS w ON true;"
    "PREPARE standbys AS"
    " SELECT usename, application_name, host(client_addr), state, sync_state, sync_priority,"
    " flush_lsn FROM pg_stat_replication;"
    "PREPARE slots AS"
    " SELECT slot_name, slot_type, active, restart_lsn, wal_status"
    " FROM pg_get_replication_slots();";
constexpr char kStateQuery[] = "EXECUTE own_state; EXECUTE standbys; EXECUTE slots;";

// Parameters that wait for a restart, and the running values of those on the command line.
constexpr char kSettingsQuery[] =
    "SELECT name, current_setting(name), pending_restart FROM pg_settings WHERE pending_restart OR "
    "name IN"
    " ('wal_level','max_connections','max_wal_senders','max_prepared_transactions',"
    "'max_locks_per_transaction','track_commit_timestamp','max_replication_slots',"
    "'max_worker_processes','wal_log_hints','listen_addresses','port','cluster_name')";

bool is_true(std::string_view text) {
  return text == "t";
}

std::optional<Lsn> lsn_at(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return Lsn::parse(rows.text(row, column));
}

std::uint32_t number_at(const Rows& rows, int row, int column) {
  return static_cast<std::uint32_t>(parse_decimal(rows.text(row, column)).value_or(0));
}

Timeline timeline_of_hex(std::string_view hex) {
  // An LSN's low half is hex of the same width.
  const auto read = Lsn::parse("0/" + std::string(hex));
  return read ? static_cast<Timeline>(read->value) : 0;
}

// What goes to etcd and to whoever asks: of an extension's parameter or a command only the name.
bool may_hold_a_secret(const std::string& name) {
  return name.find('.') != std::string::npos || name.ends_with("_command");
}

// The setting as pg_settings would show it, as far as it can be told from its text.
std::string normal(std::string value) {
  for (char& c : value) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (value == "true" || value == "yes" || value == "1") return "on";
  if (value == "false" || value == "no" || value == "0") return "off";
  return value;
}

void add_state(LocalServer& result, const Rows& rows) {
  result.in_recovery = is_true(rows.text(0, 0));
  if (result.in_recovery) {
    result.receive_lsn = lsn_at(rows, 0, 3).value_or(Lsn{});
    result.replay_lsn = lsn_at(rows, 0, 4).value_or(Lsn{});
    result.replay_timestamp = rows.text(0, 5);
    result.replay_paused = is_true(rows.text(0, 6));
    result.receiver_state = rows.text(0, 7);
    result.timeline = number_at(rows, 0, 8);
    result.upstream = upstream_of_conninfo(std::string(rows.text(0, 9)));
    result.replaying = is_true(rows.text(0, 10));
    result.restores = is_true(rows.text(0, 15));
  } else {
    result.timeline = timeline_of_hex(rows.text(0, 1));
    result.write_lsn = lsn_at(rows, 0, 2).value_or(Lsn{});
    result.insert_lsn = lsn_at(rows, 0, 11).value_or(Lsn{});
    result.flush_lsn = lsn_at(rows, 0, 12).value_or(Lsn{});
    result.sync_names = rows.text(0, 13);
    result.checkpointer_waits = is_true(rows.text(0, 14));
  }
}

void add_standbys(LocalServer& result, const Rows& rows) {
  for (int row = 0; row < rows.count(); ++row) {
    ReplicationRow standby;
    standby.user = rows.text(row, 0);
    standby.application_name = rows.text(row, 1);
    standby.client_addr = rows.text(row, 2);
    standby.state = rows.text(row, 3);
    standby.sync_state = rows.text(row, 4);
    standby.sync_priority = static_cast<int>(number_at(rows, row, 5));
    standby.flush_lsn = lsn_at(rows, row, 6);
    result.replication.push_back(std::move(standby));
  }
}

void add_slots(LocalServer& result, const Rows& rows) {
  for (int row = 0; row < rows.count(); ++row) {
    SlotRow slot;
    slot.name = rows.text(row, 0);
    slot.physical = rows.text(row, 1) == "physical";
    slot.active = is_true(rows.text(row, 2));
    slot.restart_lsn = lsn_at(rows, row, 3);
    slot.lost = rows.text(row, 4) == "lost";
    result.slots.push_back(std::move(slot));
  }
}

}  // namespace

std::string Server::Impl::local_conninfo(const std::string& more) const {
  return conninfo({{"host", settings.unix_socket_dir},
                   {"port", std::to_string(settings.port)},
                   {"user", settings.superuser.username},
                   {"password", settings.superuser.password},
                   {"passfile", "/dev/null"},
                   {"dbname", "postgres"},
                   {"sslmode", "disable"},
                   {"gssencmode", "disable"},
                   {"client_encoding", "UTF8"},
                   {"application_name", "pgsteady"},
                   // Nothing of a database's own may step between us and pg_catalog, no setting of
                   // a role may end our sessions, and nothing may wait for a synchronous standby.
                   {"options",
                    "-c search_path=pg_catalog -c TimeZone=UTC -c DateStyle=ISO "
                    "-c synchronous_commit=local -c statement_timeout=0 "
                    "-c idle_session_timeout=0 -c default_transaction_read_only=off "
                    "-c log_statement=none -c log_min_duration_statement=-1 " +
                        more}});
}

void Server::Impl::forget_process() {
  answered = false;
  receiver_timeline = replay_timeline = 0;
  postmaster.clear();
  pending_restart.clear();
  history_of = 0;  // the same number may be another timeline after a rewind or a clone
}

awaitable<std::optional<ControlFile>> Server::Impl::control_file(Deadline deadline) {
  const auto& s = settings;
  struct Found {
    std::string control;
    bool label = false;  // until the first start that stands in a file
  };
  std::function<Found()> work = [bin = s.bin_dir, data = s.data_dir] {
    std::error_code error;
    const bool label = std::filesystem::exists(data + "/backup_label", error);
    return error ? Found{} : Found{read_control_data(bin, data).value_or(""), label};
  };
  auto found = co_await run_aside<Found>(pool, loop, work, deadline);
  if (!found || found->control.empty()) co_return std::nullopt;
  auto parsed = parse_control_data(found->control);
  if (!parsed) {
    log_warning("{}: {}", settings.data_dir, parsed.error().text());
    co_return std::nullopt;
  }
  parsed->within_backup = parsed->within_backup || found->label;
  co_return *parsed;
}

void Server::Impl::failed(LocalServer& result, const Error& error, bool late) {
  const bool said = last_problem == error.message;
  last_problem = error.message;
  if (late || !answered || watch.not_accepting()) {
    result.state = late && answered ? ServerState::hung : ServerState::starting;
    if (!said) log_info("the server does not answer: {}", error.message);
    return;
  }
  // It lives, and refuses us alone (too many clients, a role that is gone): as it was last seen.
  if (!said) log_warning("the server does not let itself be measured: {}", error.message);
  auto seen = last;
  seen.data = result.data;
  seen.standby_signal = result.standby_signal;
  result = seen;
}

awaitable<bool> Server::Impl::connect(LocalServer& result, Deadline deadline) {
  if (watch.is_open()) co_return true;
  const auto pid = first_line(in_data("postmaster.pid"));
  if (!pid.empty() && pid != postmaster) {
    forget_process();
    postmaster = pid;
  }
  auto opened = co_await watch.open(local_conninfo(), deadline);
  if (!opened) {
    failed(result, opened.error(), watch.timed_out());
    co_return false;
  }
  auto identity = co_await watch.exec(std::string(kIdentityQuery) + kPrepare, deadline);
  if (!identity || identity->empty() || identity->front().count() != 1) {
    const auto error = identity ? Error{ErrorKind::retry, "no identity", {}} : identity.error();
    failed(result, error, watch.timed_out());
    watch.close();
    co_return false;
  }
  const auto& row = identity->front();
  start_time = row.text(0, 0);
  // SQL has no unsigned numbers: the identifier's upper half is shown as negative.
  const auto text = std::string(row.text(0, 1));
  system_id = SystemId{text.starts_with('-') ? ~parse_decimal(text.substr(1)).value_or(1) + 1
                                             : parse_decimal(text).value_or(0)};
  settings_due = {};
  control = co_await control_file(deadline);
  co_return true;
}

void Server::Impl::read_settings(const Rows& rows) {
  const auto now = std::chrono::steady_clock::now();
  settings_due = now < settings_busy_until ? now : now + kSettingsInterval;
  const auto forced = forced_parameters(settings, cluster);
  std::vector<std::string> ignored;
  const auto in_file = file_parameters(settings, cluster, {}, ignored);
  pending_restart.clear();
  for (int row = 0; row < rows.count(); ++row) {
    const auto name = std::string(rows.text(row, 0)), running = std::string(rows.text(row, 1));
    const auto wanted = forced.find(name);
    const bool differs =
        configured && wanted != forced.end() && normal(wanted->second) != normal(running);
    if (!differs && !is_true(rows.text(row, 2))) continue;
    if (may_hold_a_secret(name)) {
      pending_restart[name] = {};
      continue;
    }
    const auto written = in_file.find(name);
    const bool is_forced = wanted != forced.end(), is_written = written != in_file.end();
    const auto told = is_forced ? wanted->second : is_written ? written->second : std::string();
    pending_restart[name] = {running, told};
  }
}

awaitable<Result<void>> Server::Impl::ask(LocalServer& result, Deadline deadline) {
  const bool with_settings = std::chrono::steady_clock::now() >= settings_due;
  std::string query = kStateQuery;
  if (with_settings) query += kSettingsQuery;
  auto answer = co_await watch.exec(query, deadline);
  // A promotion in the midst of it makes functions of recovery fail: then once more.
  if (!answer && watch.is_open() && !watch.timed_out()) {
    answer = co_await watch.exec(query, deadline);
  }
  const std::size_t expected = with_settings ? 4 : 3;
  if (!answer) co_return tl::unexpected<Error>(answer.error());
  if (answer->size() != expected || (*answer)[0].count() != 1) {
    co_return fail(ErrorKind::retry, "a short answer");
  }
  add_state(result, (*answer)[0]);
  add_standbys(result, (*answer)[1]);
  add_slots(result, (*answer)[2]);
  if (with_settings) read_settings((*answer)[3]);
  co_return Result<void>();
}

// A standby without a receiver: no function tells which timeline its replay is on, so it is asked
// as a walsender would be, again only when it has moved.
awaitable<void> Server::Impl::ask_replay_timeline(LocalServer& result, Deadline deadline) {
  const bool moved = result.replay_lsn != replay_asked_at || result.receive_lsn != receive_asked_at;
  if (replay_timeline == 0 || moved) {
    Connection walsender(loop);
    auto opened = co_await walsender.open(local_conninfo() + " replication='true'", deadline);
    if (!opened) co_return;
    auto answer = co_await walsender.exec("IDENTIFY_SYSTEM", deadline);
    if (!answer || answer->empty() || answer->front().count() != 1) co_return;
    replay_timeline = number_at(answer->front(), 0, 1);
    replay_asked_at = result.replay_lsn;
    receive_asked_at = result.receive_lsn;
  }
}

void Server::Impl::add_history(LocalServer& result, Timeline timeline) {
  if (timeline != history_of) {
    history_of = timeline;
    history.clear();
    if (timeline > 1) {
      const auto path = in_data("pg_wal/" + history_file_name(timeline));
      auto text = read_file(path);
      auto parsed = text ? parse_history(*text) : tl::unexpected(text.error());
      if (parsed) history = *parsed;
      if (!parsed) history_of = 0;  // it may still come over from the primary
    }
  }
  result.history = history;
}

awaitable<void> Server::Impl::measure_running(LocalServer& result, Deadline deadline) {
  const bool connected = co_await connect(result, deadline);
  if (!connected) co_return;
  auto answers = co_await ask(result, deadline);
  if (!answers && !watch.is_open()) {  // the server was restarted since: a new connection
    const bool again = co_await connect(result, deadline);
    if (!again) co_return;
    answers = co_await ask(result, deadline);
  }
  if (!answers) {
    failed(result, answers.error(), watch.timed_out());
    co_return;
  }
  if (result.in_recovery) {
    receiver_timeline = std::max(receiver_timeline, result.timeline);
    if (result.receiver_state.empty()) {
      co_await ask_replay_timeline(result, deadline);
      result.timeline = std::max(receiver_timeline, replay_timeline);
    }
  }
  if (!last_problem.empty()) log_info("the server answers");
  last_problem.clear();
  answered = true;
  add_history(result, result.timeline);
  result.state = ServerState::running;
  result.start_time = start_time;
  result.version = watch.server_version();
  result.system_id = system_id;
  result.control = control;
  result.pending_restart = pending_restart;
  last = result;
}

std::string Server::Impl::log_directory() const {
  std::vector<std::string> ignored;
  const auto parameters = file_parameters(settings, cluster, {}, ignored);
  const auto& directory = parameters.at("log_directory");
  return directory.starts_with('/') ? directory : in_data(directory);
}

// Looked for once a second while the server does not answer.
awaitable<void> Server::Impl::listen_to_complaints(LocalServer& result, Deadline deadline) {
  const auto now = std::chrono::steady_clock::now();
  if (now >= complaint_due) {
    complaint_due = now + std::chrono::seconds(1);
    std::function<Complaints()> work = [directory = log_directory(), mark = log_mark] {
      return complaints_since(directory, mark);
    };
    auto found = co_await run_aside<Complaints>(pool, loop, work, deadline);
    complaints = found.value_or(Complaints{});
  }
  result.complaint = complaints.last;
  result.refusal = complaints.refusal;
  result.refused_at = complaints.refused_at;
}

// Likewise: what a standby that starts has to replay before it is consistent, and how far it is.
awaitable<void> Server::Impl::look_at_recovery(LocalServer& result) {
  const auto now = std::chrono::steady_clock::now();
  if (now >= recovery_due) {
    recovery_due = now + std::chrono::seconds(1);
    const auto deadline = after(std::chrono::seconds(1));  // the caller's may be over by now
    control = co_await control_file(deadline);
    std::function<RecoveryTitles()> work = [pid = first_line(in_data("postmaster.pid"))] {
      return recovery_titles(static_cast<pid_t>(parse_decimal(pid).value_or(0)));
    };
    auto found = co_await run_aside<RecoveryTitles>(pool, loop, work, deadline);
    titles = found.value_or(RecoveryTitles{});
  }
  result.control = control;
  result.recovering = titles.recovering;
  result.receiving = titles.receiving;
}

// The directory is not where it was (renamed, or something is mounted over it): what a server works
// in is not what the path names, and it lacks nothing.
bool has_its_files(const std::string& pid) {
  std::error_code error;
  return !pid.empty() && std::filesystem::exists("/proc/" + pid + "/cwd/PG_VERSION", error);
}

awaitable<LocalServer> Server::measure(bool process_alive, std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  LocalServer result;
  result.measured_at = boottime_now();
  std::function<LocalServer()> look = [data = impl_->settings.data_dir,
                                       pid = process_alive ? impl_->postmaster : std::string()] {
    LocalServer found;
    found.data = look_at(data);
    if (found.data == DataDirectory::empty && has_its_files(pid)) {
      found.data = DataDirectory::unknown;
    }
    std::error_code error;
    found.standby_signal = std::filesystem::exists(data + "/standby.signal", error);
    return found;
  };
  const bool changed = std::exchange(impl_->was_alive, process_alive) != process_alive;
  if (changed) impl_->complaint_due = impl_->recovery_due = {};
  // What a running server has open changes seldom, and a look costs more than the question to it.
  if (!process_alive || changed || result.measured_at >= impl_->look_due) {
    // A disk that hangs must not hold the loop; until it answers nothing is known.
    auto found = co_await run_aside<LocalServer>(impl_->pool, impl_->loop, look, deadline);
    impl_->looked = found.value_or(LocalServer{});
    impl_->look_due = boottime_now() + kBetweenLooks;
  }
  result.data = impl_->looked.data;
  result.standby_signal = impl_->looked.standby_signal;
  if (process_alive) {
    co_await impl_->measure_running(result, deadline);
    // The end of recovery removes the file first.
    if (result.is_primary()) result.standby_signal = impl_->looked.standby_signal = false;
    if (result.state == ServerState::starting) {
      co_await impl_->listen_to_complaints(result, deadline);
      if (result.standby_signal) co_await impl_->look_at_recovery(result);
      if (result.control) impl_->add_history(result, result.control->newest_timeline());
    }
    co_return result;
  }
  impl_->watch.close();
  impl_->forget_process();
  co_await impl_->listen_to_complaints(result, deadline);
  if (result.data == DataDirectory::valid) {
    result.control = co_await impl_->control_file(deadline);
    if (result.control) impl_->add_history(result, result.control->newest_timeline());
  }
  co_return result;
}

}  // namespace pgsteady::pg
