// One machine: its clock, its disk, the guardian that carries out what lease::Guardian decides (as
// src/guard/keeper does), the agent and the server below it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "lease/guardian.h"
#include "sim/postgres.h"
#include "sim/watchdog.h"

namespace pgsteady::sim {

class Agent;
class Cluster;
struct Mutation;

class Host {
 public:
  Host(Cluster& cluster, Place place);
  ~Host();

  const MemberName& name() const { return name_; }
  Place place() const { return place_; }
  bool on() const { return on_; }
  lease::Instant now() const;
  // `delay` by this host's clock.
  void after(Duration delay, Actor& actor, Task task);

  // --- faults and operators ----------------------------------------------------------------------
  void join();    // with an empty disk
  void remove();  // for good
  bool belongs() const { return belongs_; }
  void power_on();
  void power_off();  // everything stops where it is; the disk keeps what was flushed
  void stop();       // SIGTERM to the guardian: a hand-over; comes back by start()
  void start();      // the guardian, after stop() or an end of its own
  void kill_agent();
  void kill_guardian();  // by SIGKILL; its agent dies with it, its server through its heir
  void freeze_agent(bool frozen);   // SIGSTOP to the whole process
  void freeze_loop(bool frozen);    // its loop alone hangs, its other threads go on
  void freeze_server(bool frozen);  // SIGSTOP to every process of the server
  void freeze(bool frozen, bool clock_too);
  void freeze_guardian(bool frozen);  // alone: only a watchdog can help
  // What the guardian started runs for moments: it is paged out, or gets no CPU. The guardian,
  // whose memory is locked, goes on.
  void thrash(const std::shared_ptr<bool>& goes_on);
  void set_drift(int ppm);
  void set_wall_clock(seconds offset) { wall_offset_ = offset; }
  seconds wall_offset() const { return wall_offset_; }
  void hang_disk(bool hangs);
  void wipe();                 // the disk is lost, with all that was on it
  void lose_data();            // the data directory alone
  void take_foreign_disk();    // with another cluster's data
  void excuse(Duration span);  // what it does meanwhile lies outside the assumptions

  // --- below the guardian ------------------------------------------------------------------------
  void ask_guardian(lease::Request request);  // by the present agent
  void agent_finishes();                      // the process exits by itself
  void program_exited(std::int64_t job);      // one that the guardian runs for the agent
  Postgres& server() { return *server_; }
  const Postgres& server() const { return *server_; }
  Disk& disk() { return disk_; }
  Agent* agent() { return agent_.get(); }
  Actor& agent_actor() { return agent_actor_; }
  Actor& threads_actor() { return threads_actor_; }
  Cluster& cluster() { return cluster_; }
  const lease::Guardian* guardian() const { return guardian_.get(); }
  // When what is armed is surely over: at its deadline, or, where the guardian stands still and the
  // watchdog stands in for it, with the lease.
  lease::Instant fenced_by() const;
  HostClock& clock() { return clock_; }

  // What happened to it lies outside what the design assumes: only until this moment, and as long
  // as it lasts.
  bool outside_assumptions() const;
  // No fault has touched it for so long. A fault says when it begins (1) and ends (-1), or 0.
  bool was_well(Duration length) const;
  void disturbed(int by);

 private:
  void begin_guardian();
  void look_at_watchdog(const lease::Request& request);
  void tend_watchdog();
  void reset();
  void carry_out(const lease::Actions& actions);
  void carry_out(const lease::Action& action);
  void batch_done();
  void set_timer();
  void start_agent();
  void end_agent();
  void end_guardian();  // and the agent, which cannot outlive it
  void restart_later();
  void inherit();
  void agent_ended(int status);
  void send(const lease::Notice& notice);
  void sweep(const lease::Action& action);
  void server_exited();
  void end_all(int code);

  Cluster& cluster_;
  Place place_;
  MemberName name_;
  HostClock clock_;
  Disk disk_;
  bool belongs_;
  bool on_ = false;
  bool wanted_ = true;  // to be started again when the guardian ends
  Actor guardian_actor_, agent_actor_, threads_actor_;
  std::unique_ptr<lease::Guardian> guardian_;
  Watchdog watchdog_;
  std::unique_ptr<Postgres> server_;
  std::unique_ptr<Agent> agent_;
  std::vector<std::unique_ptr<Agent>> retired_;  // their last callbacks may be on the stack
  std::uint64_t timer_ = 0;
  lease::Instant timer_at_ = lease::Instant::max();
  Moment outside_until_{};
  int standstills_ = 0;
  seconds wall_offset_{};
  int disturbances_ = 0;
  Moment disturbed_at_{};
};

}  // namespace pgsteady::sim
