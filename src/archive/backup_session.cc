#include "archive/backup_session.h"

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <optional>

namespace pgsteady::archive {
namespace {

constexpr std::chrono::seconds kConnectLimit{10};
constexpr std::chrono::minutes kStatementLimit{15};  // a checkpoint on slow disks
constexpr int kOldestServer = 150000;

pg::Deadline after(std::chrono::seconds limit) {
  return std::chrono::steady_clock::now() + limit;
}

template <typename T>
Result<T> run(boost::asio::io_context& loop, pg::awaitable<Result<T>> work) {
  Result<T> result = fail(ErrorKind::retry, "the connection did nothing");
  boost::asio::co_spawn(loop, std::move(work), [&](const std::exception_ptr&, Result<T> value) {
    result = std::move(value);
  });
  loop.restart();
  loop.run();
  return result;
}

constexpr char kFacts[] =
    "select (select timeline_id from pg_control_checkpoint()),"
    " (select system_identifier from pg_control_system()),"
    " (select setting from pg_settings where name = 'wal_segment_size'),"
    " current_setting('data_checksums'), pg_is_in_recovery()";

}  // namespace

Result<pg::Rows> BackupSession::query(const std::string& sql) {
  auto rows = run(loop_, connection_.exec(sql, after(kStatementLimit)));
  if (!rows) return tl::unexpected(rows.error());
  if (rows->empty() || rows->front().count() != 1) {
    return fail(ErrorKind::fatal, "the server answers nothing to " + sql.substr(0, 40));
  }
  return rows->front();
}

Result<void> BackupSession::open(const std::string& conninfo) {
  auto opened = run(loop_, connection_.open(conninfo, after(kConnectLimit)));
  if (!opened) {
    return fail(opened.error().kind, opened.error().message,
                "set PGHOST, PGPORT and PGUSER as for psql; the user must be a superuser");
  }
  if (connection_.server_version() >= kOldestServer) return {};
  return fail(ErrorKind::refused, "the server is older than PostgreSQL 15");
}

Result<BackupStart> BackupSession::start() {
  auto started = query("select pg_backup_start('pgsteady', true)");
  if (!started) return tl::unexpected(started.error());
  auto facts = query(kFacts);
  if (!facts) return tl::unexpected(facts.error());
  const auto lsn = Lsn::parse(started->text(0, 0));
  const auto timeline = parse_decimal(facts->text(0, 0));
  const auto system = parse_decimal(facts->text(0, 1));
  const auto segment = parse_decimal(facts->text(0, 2));
  if (!lsn || !timeline || !system || !segment || *segment == 0) {
    return fail(ErrorKind::fatal, "the server does not tell where the backup starts");
  }
  return BackupStart{*lsn,
                     static_cast<Timeline>(*timeline),
                     SystemId{*system},
                     *segment,
                     connection_.server_version(),
                     facts->text(0, 3) == "on",
                     facts->text(0, 4) == "t"};
}

Result<BackupStop> BackupSession::stop() {
  auto stopped = query("select lsn, labelfile, spcmapfile from pg_backup_stop(false)");
  if (!stopped) return tl::unexpected(stopped.error());
  const auto lsn = Lsn::parse(stopped->text(0, 0));
  if (!lsn) return fail(ErrorKind::fatal, "the server does not tell where the backup stops");
  return BackupStop{*lsn, std::string(stopped->text(0, 1)), std::string(stopped->text(0, 2))};
}

}  // namespace pgsteady::archive
