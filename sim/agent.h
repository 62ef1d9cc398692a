// The agent of a simulated node: the very same decide(), fed and carried out as src/agent does it:
// observe.cc finds out, act.cc carries out, jobs.cc changes the server; each of them has its
// counterpart here, without coroutines.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/decide.h"
#include "lease/guardian.h"
#include "sim/asker.h"
#include "sim/renewer.h"

namespace pgsteady::sim {

struct Mutation;

class Agent {
 public:
  Agent(Host& host, std::uint64_t generation);

  void begin();
  std::uint64_t generation() const { return generation_; }
  void on_notice(const lease::Notice& notice);
  void program_killed(std::int64_t job);
  // Over its REST interface; answered once, unless the process ends before.
  void ask(core::Request request);
  bool has_unanswered(Duration age) const;
  // What this node answers to GET /patroni.
  core::PeerFigure figure() const;
  // What it answers to POST /failsafe: how long its promise binds; nullopt: it promises nothing.
  std::optional<Duration> asked_for_promise(const MemberName& leader, const lease::Epoch& epoch,
                                            Duration length);
  const core::State& state() const { return state_; }
  const core::Observation& seen() const { return seen_; }
  bool unfit() const { return unfit_; }  // has just given the lock up, as others are told

 private:
  // --- agent.cc: deciding
  void wake();
  void turn();
  void note(const core::Decision& decision);
  void arm_timer(lease::Instant when);
  void heartbeat();
  void on_renewal(const lease::Renewal& renewal);
  void extend(const lease::Epoch& epoch, lease::Instant deadline, Duration ttl);
  bool may_renew() const;

  // --- agent_failsafe.cc: promises
  void ask_for(const std::optional<core::FailsafeTask>& task);
  void on_promises(const core::FailsafeFacts& facts);
  void tell_promises();
  bool may_send(core::TxnKind kind);

  // --- agent_observe.cc: finding out
  void tick();
  void read_dcs();
  void read_again_soon();
  void dcs_read(const EtcdClient::Answer& answer);
  void open_watch();
  void lose_watch();
  void measure();
  void measured(lease::Instant began, bool alive);
  void ask_peers(const std::vector<MemberName>& members);
  void peers_answered(std::uint64_t round);

  // --- agent_act.cc: carrying out
  void carry_out(std::vector<core::Action>& actions);
  bool act(const core::GrantLease& a);
  bool act(const core::AdoptLease& a);
  bool act(const core::DropLease& a);
  bool act(const core::HoldKey& a);
  bool act(const core::LetGo& a);
  bool act(const core::Transact& a);
  bool act(const core::Arm& a);
  bool act(const core::Disarm& a);
  bool act(const core::Fence& a);
  bool act(const core::PollLease& a);
  bool act(const core::AskPeers& a);
  bool act(const core::AskForWal& a);
  bool act(const core::AskTwin& a);
  bool act(const core::ProbeCommit& a);
  bool act(const core::AskPromises& a);
  bool act(const core::SwitchFence& a);
  bool act(const core::Reload&);
  bool reload_waits() const;
  bool act(const core::Reply& a);
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
  bool act(const core::CancelJob& a);
  bool act(const core::Finish& a);
  void granted(const EtcdClient::Answer& answer);
  void committed(core::TxnKind kind, std::int64_t lease, const EtcdClient::Answer& answer);

  // --- agent_jobs.cc: what changes the server, one at a time
  bool start_job(core::JobKind kind);
  void end_job(bool ok, std::string message);
  // Runs `step` now and then until it says that it is done, or the job is over or cancelled.
  void poll(Duration every, std::function<bool()> step);
  void later(Duration delay, Task task);  // as part of the present job
  void run_program(Duration takes, std::function<void()> effect, std::function<void(bool)> ended);
  void clear_directory();
  void keep_diverged_wal();
  void run_clone(const core::UpstreamMember& from);
  void end_clone(Place from, std::uint64_t life);
  void wait_to_rewind(const core::UpstreamMember& from, lease::Instant give_up_at);
  void run_rewind(const core::UpstreamMember& from);
  void end_rewind(Place from, std::uint64_t life);
  bool write_configuration(bool as_standby, const std::optional<core::UpstreamMember>& upstream);
  void checkpoint();
  bool reachable(Place other) const;

  WallTime wall_now() const;
  lease::Request request(lease::Request::Kind kind) const;
  bool server_gone() const { return seen_.guard.phase == core::ServerPhase::none; }
  const Mutation* mutation() const;

  Host& host_;
  World& world_;
  const std::uint64_t generation_;
  Rng rng_;
  EtcdClient dcs_;
  Renewer renewer_;
  Asker asker_;
  lease::Epoch asker_epoch_;    // of its task
  lease::Promiser promiser_;    // dies with the process
  bool failsafe_mode_ = false;  // as the threads that answer know it
  core::Identity self_;
  core::State state_;
  core::Observation seen_;
  bool guard_known_ = false;
  bool turn_due_ = false;
  bool reading_ = false, read_again_ = false;
  unsigned retries_ = 0;  // of reads
  bool measuring_ = false, measure_again_ = false, look_due_ = false;
  bool finished_ = false;
  std::uint64_t timer_ = 0;
  lease::Instant timer_at_{};

  int watch_member_ = -1;
  std::int64_t watch_revision_ = 0;
  bool watch_waiting_ = false;
  Duration watch_pause_ = milliseconds(50);

  std::uint64_t round_ = 0;
  core::PeerRound asking_;
  std::size_t peers_left_ = 0;

  std::string member_state_;
  bool has_lock_ = false;
  bool unfit_ = false;
  struct RaceFigure {
    std::int64_t revision;
    Timeline timeline;
    Lsn lsn;
  };
  std::optional<RaceFigure> race_;
  lease::Epoch asked_epoch_;
  bool job_harmless_ = false;
  bool rewound_ = false;
  bool cancelled_ = false;
  bool reload_due_ = false;
  bool reloaded_ = false;
  lease::Instant reloaded_at_;
  std::uint64_t job_ = 0;
  std::int64_t next_program_ = 1;
  std::int64_t program_ = 0;  // that the present job waits for
  std::function<void(bool)> program_ended_;
  std::vector<std::string> said_;
  std::map<std::uint64_t, lease::Instant> open_requests_;  // when each came
  std::uint64_t last_request_ = 0;

  // Shared with the renewal thread:
  lease::Instant turned_at_{};
  std::optional<lease::Instant> guard_asked_;
  std::int64_t armed_revision_ = 0;
  Duration patience_ = seconds(2);
};

// "10.0.0.3" is the node at place 2.
Place place_of_address(const HostPort& address);

}  // namespace pgsteady::sim
