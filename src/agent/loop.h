// The loop's insides, private to agent/. Everything here runs on the loop's thread, but for what is
// said to be atomic. observe.cc fills `seen_`, loop.cc decides, act.cc carries out, jobs.cc holds
// the jobs that change the server.
#pragma once

#include <atomic>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/asker.h"
#include "agent/promises.h"
#include "agent/requests.h"
#include "agent/status.h"
#include "config/config.h"
#include "core/decide.h"
#include "dcs/dcs.h"
#include "dcs/renewer.h"
#include "guard/client.h"
#include "postgres/server.h"

namespace pgsteady::agent {

using boost::asio::awaitable;

class Loop {
 public:
  Loop(const config::NodeConfig& config, std::unique_ptr<guard::Client> guard, StatusBoard& board,
       Promises& promises, Requests& requests);
  ~Loop();

  int run();  // until Finish

 private:
  // --- loop.cc: deciding -------------------------------------------------------------------------
  void start_renewer();
  void extend_deadline(const lease::Epoch& epoch, lease::Instant deadline, lease::Duration ttl);
  bool shows_life() const;
  void spawn(awaitable<void> work);
  std::string epoch_file() const;
  void wake();  // decide soon; many wakes make one turn
  void turn();
  void log_reasons(const core::Decision& decision);
  void show(const core::Decision& decision);
  void arm_timer(lease::Instant when);
  awaitable<void> heartbeat();
  awaitable<void> listen_to_guardian();
  void on_message(const guard::Message& message);
  void on_refused(const guard::Message& message);
  void on_server_exited(const guard::Message& message);
  void on_renewal(const dcs::RenewalReport& report);

  // --- failsafe.cc: promises ---------------------------------------------------------------------
  void start_asker();
  void ask_for(std::optional<core::FailsafeTask> task);
  std::optional<core::FailsafeTask> remembered_task() const;
  void tell_promises();
  bool may_send(core::TxnKind kind);
  std::optional<std::chrono::nanoseconds> failsafe_until() const;

  // --- observe.cc: finding out -------------------------------------------------------------------
  awaitable<void> tick();  // reads etcd and measures the server once per loop_wait
  void read_dcs();
  void read_again_soon();
  void measure();
  awaitable<void> measure_once();
  awaitable<void> probe_commit(lease::Duration limit);
  awaitable<void> ask_for_wal(core::AskForWal about);
  awaitable<void> ask_twin(HostPort address);
  awaitable<void> ask_peers(std::vector<MemberName> members);
  awaitable<void> ask_peer(MemberName name, HostPort address,
                           std::shared_ptr<core::PeerRound> round,
                           std::shared_ptr<std::size_t> left);

  // --- act.cc: carrying out ----------------------------------------------------------------------
  void carry_out(const std::vector<core::Action>& actions);
  bool act(const core::GrantLease& a);
  bool act(const core::AdoptLease& a);
  bool act(const core::DropLease& a);
  bool act(const core::HoldKey& a);
  bool act(const core::LetGo& a);
  bool act(const core::Transact& a);
  bool act(const core::Arm& a);
  bool act(const core::Disarm& a);
  bool act(const core::Fence& a);
  bool act(const core::SwitchFence& a);
  bool act(const core::PollLease& a);
  bool act(const core::AskPeers& a);
  bool act(const core::AskForWal& a);
  bool act(const core::AskTwin& a);
  bool act(const core::AskPromises& a);
  bool act(const core::RunInitdb& a);
  bool act(const core::Clone& a);
  bool act(const core::Rewind& a);
  bool act(const core::StartServer& a);
  bool act(const core::StopServer& a);
  bool act(const core::Promote& a);
  bool act(const core::Reconfigure& a);
  bool act(const core::CreateUsers& a);
  bool act(const core::ClearMarker& a);
  bool act(const core::Checkpoint& a);
  bool act(const core::SyncSlots& a);
  bool act(const core::ProbeCommit& a);
  bool act(const core::CancelJob& a);
  bool act(const core::Reload& a);
  awaitable<void> end_soon();
  bool reload_waits() const;
  bool reload_now();
  bool act(const core::Reply& a);
  bool act(const core::Finish& a);

  // --- jobs.cc, data_jobs.cc: what changes the server, one at a time -----------------------------
  bool start_job(core::JobKind kind, awaitable<Result<std::string>> job);
  awaitable<void> run_job(core::JobKind kind, awaitable<Result<std::string>> job);
  awaitable<Result<std::string>> initdb();
  awaitable<Result<void>> check_source(core::UpstreamMember from);
  awaitable<Result<std::string>> clone(core::Clone how);
  awaitable<Result<void>> await_checkpoint(core::UpstreamMember from);
  awaitable<Result<std::string>> rewind(core::Rewind about);
  awaitable<Result<std::string>> start_server(core::StartServer how);
  awaitable<Result<std::string>> stop_server(core::StopServer how);
  awaitable<Result<std::string>> promote(core::Promote how);
  awaitable<Result<std::string>> reconfigure(std::optional<core::UpstreamMember> upstream);
  awaitable<Result<std::string>> create_users();
  awaitable<void> try_lease_again();
  awaitable<void> checkpoint();
  awaitable<void> sync_slots(core::SyncSlots about);
  // Runs a program under the guardian and waits for its end; logs its output's last line now and
  // then, and the end of the output when it fails.
  awaitable<Result<std::string>> run_program(std::string what, pg::Command command,
                                             std::chrono::seconds limit);
  awaitable<void> sleep(std::chrono::milliseconds duration);
  std::optional<boost::json::object> cluster_parameters() const;
  pg::Upstream upstream(const core::UpstreamMember& member) const;
  bool server_gone() const { return seen_.guard.phase == core::ServerPhase::none; }

  const config::NodeConfig& config_;
  StatusBoard& board_;
  Promises& promises_;
  Requests& requests_;
  boost::asio::io_context io_;
  std::unique_ptr<guard::Client> guard_;
  boost::asio::posix::stream_descriptor guard_reader_;
  boost::asio::steady_timer timer_;  // the decision's next_wake
  boost::asio::steady_timer tick_timer_;
  boost::asio::steady_timer retry_timer_;
  pg::Server server_;
  std::unique_ptr<dcs::Dcs> dcs_;
  std::unique_ptr<Asker> asker_;
  std::unique_ptr<dcs::Renewer> renewer_;  // tells the asker
  lease::Epoch asker_epoch_;               // of its task

  const std::string instance_;
  core::Identity self_;
  core::State state_;
  core::Observation seen_;
  bool guard_known_ = false;  // its first status has come
  bool turn_due_ = false;
  bool reading_ = false, read_again_ = false;
  bool measuring_ = false, measure_again_ = false, look_due_ = false;
  WallTime dcs_last_seen_{};
  std::optional<std::chrono::nanoseconds> renewal_latency_;
  std::uint64_t fence_events_ = 0;
  std::map<std::string, lease::Instant> said_;  // when each reason was logged last
  std::vector<std::string> problems_said_;
  std::optional<int> exit_code_;
  boost::asio::cancellation_signal cancel_job_;
  lease::Epoch asked_epoch_;   // that the guardian was asked to arm last
  bool job_harmless_ = false;  // the present job has changed nothing yet
  bool program_refused_ = false;
  bool reload_due_ = false;
  bool reloaded_ = false;  // the server was told of its files as they are, by this agent
  std::chrono::nanoseconds reloaded_at_{};
  std::int64_t next_program_ = 1;
  std::int64_t program_ = 0;        // that is waited for
  std::optional<int> program_end_;  // its status

  // Shared with the renewal thread and the asker:
  std::atomic<std::int64_t> turned_at_ns_{0};    // boottime of the heartbeat's last beat
  std::atomic<std::int64_t> guard_asked_ns_{0};  // boottime of the first arm unanswered; 0: none
  std::atomic<std::int64_t> armed_revision_{0};  // the epoch that decide() armed; 0: none
  std::atomic<std::int64_t> patience_ns_{0};     // how old those signs of life may be
};

}  // namespace pgsteady::agent
