// SQL that changes something: users, slots, checkpoints. Each call has a connection of its own, so
// that measuring never waits for it.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <algorithm>

#include "base/log.h"
#include "postgres/aside.h"
#include "postgres/conninfo.h"
#include "postgres/files.h"
#include "postgres/impl.h"

namespace pgsteady::pg {
namespace {

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

// Role options from a configuration: only PostgreSQL's own words.
bool is_role_option(const std::string& word) {
  static const char* const kWords[] = {"SUPERUSER", "CREATEDB",    "CREATEROLE", "INHERIT",
                                       "LOGIN",     "REPLICATION", "BYPASSRLS"};
  return std::any_of(std::begin(kWords), std::end(kWords), [&](const char* known) {
    return word == known || word == std::string("NO") + known;
  });
}

std::string role_options(const std::string& user, const std::vector<std::string>& words) {
  std::string result;
  bool login_said = false;
  for (const auto& given : words) {
    const auto word = upper(given);
    if (!is_role_option(word)) {
      log_warning("user {}: \"{}\" is no option of a role and was passed over", user, given);
      continue;
    }
    login_said = login_said || word == "LOGIN" || word == "NOLOGIN";
    result += " " + word;
  }
  return login_said ? result : result + " LOGIN";
}

struct Role {
  Credentials credentials;
  std::string options;  // " LOGIN REPLICATION"
};

std::vector<Role> roles_of(const ServerSettings& settings) {
  std::vector<Role> roles;
  roles.push_back({settings.replication, " LOGIN REPLICATION"});
  if (!settings.rewind.username.empty()) roles.push_back({settings.rewind, " LOGIN"});
  for (const auto& user : settings.users) {
    roles.push_back({user.credentials, role_options(user.credentials.username, user.options)});
  }
  // The superuser came with initdb and keeps what it has.
  std::erase_if(roles, [&](const Role& role) {
    return role.credentials.username.empty() ||
           role.credentials.username == settings.superuser.username;
  });
  return roles;
}

// What pg_rewind reads from its source, and a checkpoint there.
std::string grants_for_rewind(const std::string& user) {
  const auto role = sql_identifier(user);
  std::string text;
  for (const char* function :
       {"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)", "pg_read_binary_file(text, bigint, bigint, boolean)"}) {
    text += fmt::format("GRANT EXECUTE ON FUNCTION pg_catalog.{} TO {};", function, role);
  }
  return text;
}

// Beside what all our sessions leave unlogged: statements here hold passwords' verifiers.
constexpr char kQuiet[] =
    "-c log_min_error_statement=panic "
    "-c log_min_duration_sample=-1 -c log_transaction_sample_rate=0";

bool is_address(const std::string& host) {
  unsigned char buffer[16];
  return host.starts_with('/') || inet_pton(AF_INET, host.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

// Blocks.
std::string look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  char text[NI_MAXHOST] = "";
  if (found) {
    getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  }
  freeaddrinfo(found);
  return text;
}

}  // namespace

awaitable<Result<void>> Server::Impl::create_role(Connection& connection, Credentials user,
                                                  std::string options, Deadline deadline) {
  auto present = co_await connection.exec(
      fmt::format("SELECT 1 FROM pg_roles WHERE rolname = {}", sql_literal(user.username)),
      deadline);
  if (!present) co_return tl::unexpected<Error>(present.error());
  std::string password;
  if (!user.password.empty()) {
    auto verifier = connection.scram_verifier(user.username, user.password);
    if (!verifier) co_return tl::unexpected<Error>(verifier.error());
    password = " PASSWORD " + sql_literal(*verifier);
  }
  const bool exists = present->front().count() > 0;
  auto made =
      co_await connection.exec(fmt::format("{} ROLE {} WITH{}{}", exists ? "ALTER" : "CREATE",
                                           sql_identifier(user.username), options, password),
                               deadline);
  if (!made) co_return tl::unexpected<Error>(made.error());
  co_return Result<void>();
}

awaitable<Result<void>> Server::create_users(std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  ::unlink(impl_->initdb_password_file().c_str());
  Connection connection(impl_->loop);
  auto opened = co_await connection.open(impl_->local_conninfo(kQuiet), deadline);
  if (!opened) co_return opened;
  for (const auto& role : roles_of(impl_->settings)) {
    auto made = co_await impl_->create_role(connection, role.credentials, role.options, deadline);
    if (!made) {
      co_return fail(made.error().kind,
                     fmt::format("cannot create user {}: {}", role.credentials.username,
                                 made.error().message));
    }
  }
  const auto& rewind = impl_->settings.rewind.username;
  if (!rewind.empty() && rewind != impl_->settings.superuser.username) {
    auto grants = grants_for_rewind(rewind);
    if (connection.server_version() >= 150000) {
      grants += fmt::format("GRANT pg_checkpoint TO {};", sql_identifier(rewind));
    }
    auto granted = co_await connection.exec(grants, deadline);
    if (!granted) co_return tl::unexpected<Error>(granted.error());
  }
  co_return Result<void>();
}

awaitable<Result<void>> Server::checkpoint(std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  Connection connection(impl_->loop);
  auto opened = co_await connection.open(impl_->local_conninfo(), deadline);
  if (!opened) co_return opened;
  auto done = co_await connection.exec("CHECKPOINT", deadline);
  if (!done) co_return tl::unexpected<Error>(done.error());
  impl_->control = co_await impl_->control_file(deadline);  // it tells the new timeline from now on
  co_return Result<void>();
}

awaitable<Result<bool>> Server::commit(std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  Connection connection(impl_->loop);
  auto opened = co_await connection.open(impl_->local_conninfo(), deadline);
  if (!opened && connection.timed_out()) co_return false;
  if (!opened) co_return tl::unexpected<Error>(opened.error());
  auto done = co_await connection.exec(
      "SELECT pg_catalog.pg_logical_emit_message(true, 'pgsteady', '')", deadline);
  if (!done && connection.timed_out()) co_return false;
  if (!done) co_return tl::unexpected<Error>(done.error());
  co_return true;
}

// One name a line. Only slots that this node made are ever dropped: others belong to backup tools.
std::set<std::string> Server::Impl::known_slots() const {
  std::set<std::string> names;
  const auto text = read_file(in_state("slots")).value_or("");
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    if (end > at) names.insert(text.substr(at, end - at));
    at = end + 1;
  }
  return names;
}

Result<void> Server::Impl::remember_slots(const std::set<std::string>& names) const {
  std::string text;
  for (const auto& name : names) text += name + "\n";
  auto made = make_directory(settings.state_dir, 0700);
  if (!made) return made;
  auto written = write_if_changed(in_state("slots"), text, 0600);
  if (!written) return tl::unexpected(written.error());
  return {};
}

awaitable<Result<void>> Server::sync_slots(const std::vector<MemberName>& members,
                                           std::chrono::milliseconds limit, bool drop) {
  const auto deadline = after(limit);
  std::set<std::string> wanted;
  for (const auto& member : members) {
    if (member != impl_->settings.name) wanted.insert(slot_name(member));
  }
  Connection connection(impl_->loop);
  auto opened = co_await connection.open(impl_->local_conninfo(), deadline);
  if (!opened) co_return opened;
  auto found = co_await connection.exec(
      "SELECT slot_name, slot_type, active, wal_status FROM pg_get_replication_slots()", deadline);
  if (!found) co_return tl::unexpected<Error>(found.error());
  auto missing = wanted;
  const auto known = impl_->known_slots();
  auto ours = wanted;
  std::vector<std::string> statements;
  const auto& rows = found->front();
  for (int row = 0; row < rows.count(); ++row) {
    const std::string name(rows.text(row, 0));
    // Through a slot whose WAL is gone nobody can stream any more.
    const bool lost = rows.text(row, 3) == "lost" && known.contains(name);
    if (!lost) missing.erase(name);
    if ((wanted.contains(name) && !lost) || !known.contains(name)) continue;
    ours.insert(name);  // until it is seen to be gone
    const bool unwanted = !wanted.contains(name);
    if (rows.text(row, 1) != "physical" || rows.text(row, 2) == "t" || (unwanted && !drop)) {
      missing.erase(name);
      continue;
    }
    statements.push_back(fmt::format("SELECT pg_drop_replication_slot({})", sql_literal(name)));
    log_info("dropping the replication slot {}: {}", name,
             lost ? "its WAL is gone" : "its member is gone");
  }
  auto remembered = impl_->remember_slots(ours);
  if (!remembered) co_return remembered;
  for (const auto& name : missing) {
    statements.push_back(
        fmt::format("SELECT pg_create_physical_replication_slot({}, true)", sql_literal(name)));
  }
  for (const auto& statement : statements) {
    auto done = co_await connection.exec(statement, deadline);
    if (!done) co_return tl::unexpected<Error>(done.error());
  }
  co_return Result<void>();
}

awaitable<Result<void>> Server::Impl::open_elsewhere(Connection& connection, const Upstream& server,
                                                     Credentials user, const char* database,
                                                     Deadline deadline) {
  const HostPort address = server.address;
  std::string number = address.host;
  if (!is_address(number)) {
    std::function<std::string()> work = [host = address.host] { return look_up(host); };
    auto found = co_await run_aside<std::string>(pool, loop, work, deadline);
    number = found.value_or("");
  }
  if (number.empty()) co_return fail(ErrorKind::retry, "cannot find the host " + address.host);
  const auto text = conninfo({{"host", address.host},
                              {number.starts_with('/') ? "host" : "hostaddr", number},
                              {"port", std::to_string(address.port)},
                              {"user", user.username},
                              {"password", user.password},
                              {"passfile", settings.pgpass_path},
                              {"dbname", database},
                              {"replication", *database ? "" : "true"},
                              {"application_name", settings.name}});
  auto opened = co_await connection.open(text, deadline);
  co_return opened;
}

awaitable<Result<Timeline>> Server::control_timeline_of(const Upstream& primary,
                                                        std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  Connection connection(impl_->loop);
  auto opened = co_await impl_->open_elsewhere(connection, primary, rewind_credentials(settings()),
                                               "postgres", deadline);
  if (!opened) co_return tl::unexpected<Error>(opened.error());
  auto answer = co_await connection.exec(
      "SELECT timeline_id, pg_catalog.pg_is_in_recovery() FROM pg_catalog.pg_control_checkpoint()",
      deadline);
  if (!answer) co_return tl::unexpected<Error>(answer.error());
  const auto& row = answer->front();
  const auto timeline = row.count() == 1 ? parse_decimal(row.text(0, 0)) : std::nullopt;
  if (!timeline) co_return fail(ErrorKind::retry, "no timeline in the answer");
  if (row.text(0, 1) == "t") {
    co_return fail(ErrorKind::retry, fmt::format("{} is still in recovery", primary.name));
  }
  co_return static_cast<Timeline>(*timeline);
}

awaitable<Result<SystemId>> Server::system_id_of(const Upstream& source,
                                                 std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  Connection connection(impl_->loop);
  auto opened =
      co_await impl_->open_elsewhere(connection, source, settings().replication, "", deadline);
  if (!opened) co_return tl::unexpected<Error>(opened.error());
  auto answer = co_await connection.exec("IDENTIFY_SYSTEM", deadline);
  if (!answer) co_return tl::unexpected<Error>(answer.error());
  const auto& row = answer->front();
  const auto id = row.count() == 1 ? SystemId::parse(row.text(0, 0)) : std::nullopt;
  if (!id) co_return fail(ErrorKind::retry, "no system identifier in the answer");
  co_return *id;
}

// A segment is looked for under any timeline, as the one that it was written under is kept longest.
awaitable<Result<bool>> Server::has_wal_after(const Upstream& primary, Lsn lsn,
                                              std::chrono::milliseconds limit) {
  const auto deadline = after(limit);
  Connection connection(impl_->loop);
  auto opened = co_await impl_->open_elsewhere(connection, primary, rewind_credentials(settings()),
                                               "postgres", deadline);
  if (!opened) co_return tl::unexpected<Error>(opened.error());
  const Lsn next{lsn.value + 1};  // at a segment's end the function names the one before
  auto answer = co_await connection.exec(
      fmt::format("SELECT count(*) FROM pg_catalog.pg_ls_dir('pg_wal', true, false) AS name"
                  " WHERE name ~ '^[0-9A-F]{{24}}$' AND substr(name, 9) ="
                  " substr(pg_catalog.pg_walfile_name('{}'), 9)",
                  next.text()),
      deadline);
  if (!answer) co_return tl::unexpected<Error>(answer.error());
  const auto& row = answer->front();
  if (row.count() != 1) co_return fail(ErrorKind::retry, "no count in the answer");
  co_return row.text(0, 0) != "0";
}

}  // namespace pgsteady::pg
