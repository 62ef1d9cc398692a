// A simulated PostgreSQL server and its data directory. It promotes, follows, crashes and recovers;
// what it acknowledges and what it streams is true to a tree of WAL branches, so that whatever is
// lost or diverges can be told afterwards.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster/local_server.h"
#include "core/observation.h"
#include "lease/terms.h"
#include "sim/clock.h"
#include "sim/network.h"
#include "sim/wal.h"

namespace pgsteady::sim {

// What lies on a node's disk; survives everything but a wipe.
struct Disk {
  DataDirectory data = DataDirectory::empty;
  ControlFile control;
  WalPoint wal;                  // everything up to here is flushed; a running server may have more
  Timeline newest_timeline = 1;  // of the history files that lie there
  WalPoint written;              // by a server that was killed while the disk hung; or no branch
  bool standby_signal = false;
  std::optional<Place> upstream;  // primary_conninfo
  std::string sync_names;         // synchronous_standby_names in postgresql.conf
  bool inconsistent = false;      // until WAL up to control.min_recovery is replayed
  WalPoint pages_of;              // what a rewind copied pages from
  bool torn = false;              // a rewind or clone broke off in the middle
  bool starved = false;           // nobody gives it the WAL that makes it consistent

  // Beside the data directory:
  std::optional<std::string> marker;
  std::optional<lease::Epoch> epoch;
  std::optional<core::FailsafeTask> failsafe_task;
  std::vector<WalPoint> kept;  // diverged WAL
  std::vector<WallTime> reclones;

  bool unlinked = false;  // the directory is removed; a server that runs has its files open
  int hangs = 0;          // faults under which every write waits for ever
  int full = 0;           // faults under which every write fails
};

// Figures that faults change.
struct ServerTroubles {
  Duration recovery{};   // added to a start
  Duration shutdown{};   // added to a stop
  Duration reaping{};    // how long what was killed takes to be gone
  Duration promotion{};  // a stall
  bool breaks_rewind = false;
  bool breaks_start = false;
};

// synchronous_standby_names, as one process understands it.
struct SyncRule {
  std::string text;
  bool any = false;        // k of them, else the first k
  bool everybody = false;  // "*"
  int wait_for = 0;        // 0: nobody is waited for
  std::vector<MemberName> names;

  bool defined() const { return wait_for > 0; }
  int priority(const MemberName& name) const;  // 0: it is not waited for
};

class Postgres {
 public:
  struct Surroundings {
    World& world;
    Network& network;
    WalTree& tree;
    Place place;
    std::string name;
    Disk& disk;
    const WalPoint& archive;  // what restore_command finds
    // Another node's server; nullptr when there is none of that place.
    std::function<Postgres*(Place)> server;
    std::function<MemberName(Place)> name_of;
    std::function<void()> exited;    // the postmaster has ended
    std::function<void()> vanished;  // with the last process, what was unlinked is gone
    std::function<void()> changed;   // can_acknowledge() may have changed
    // A client is told that its commit is safe; so many standbys were waited for.
    std::function<void(const WalPoint& commit, int waited_for)> acknowledged;
  };
  explicit Postgres(Surroundings around);

  Actor& actor() { return actor_; }
  ServerTroubles& troubles() { return troubles_; }

  // --- as the guardian does ----------------------------------------------------------------------
  void start();
  void stop_fast();
  void stop_immediate();
  void reload();  // SIGHUP: another upstream
  // Its next promotion takes a later number.
  void reserve_timelines(Timeline newest) { reserved_ = newest; }
  void promote_signal();  // SIGUSR1 with the promote file in place
  // SIGKILL to all of it; gives how many processes are not reaped yet.
  std::size_t kill();
  void kill_postmaster();   // alone: its backends go on until they notice
  void power_off();         // all gone at once, no last words
  void unlink_directory();  // removed while it runs
  void left_to_init() { gone_at_ = around_.world.now(); }  // by a guardian that has exited

  void hold_replay(bool hold);
  void disk_answers();  // that hung

  // --- what it does ------------------------------------------------------------------------------
  bool postmaster_alive() const { return phase_ != Phase::none && postmaster_; }
  // A client's write would be acknowledged at this very moment.
  bool can_acknowledge() const;
  // It would be, once whatever holds the server up is over: it is not fenced.
  bool could_acknowledge() const {
    return actor_.alive() && backends_ && !recovery_ && phase_ == Phase::running;
  }
  // A commit that waits for a disk that hangs.
  void commit_in_vain() { unflushed_ = actor_.runs() && backends_ && !recovery_; }
  // Appends and flushes one commit, which is acknowledged now or when those that
  // synchronous_standby_names tells of have flushed it too.
  void commit();
  void bulk_load(std::uint64_t bytes);  // commits that nobody waits for
  bool serves_replication() const;
  bool running() const { return phase_ == Phase::running; }
  bool in_recovery() const { return recovery_; }
  // How long it has been coming up; 0 when it is not.
  Duration comes_up_for() const {
    return phase_ == Phase::starting ? around_.world.now() - began_at_ : Duration(0);
  }
  bool streams() const { return receiver_.streaming; }
  bool knows_its_upstream() const { return upstream_ == around_.disk.upstream; }
  WalPoint wal() const { return around_.disk.wal; }
  Lsn replayed() const;  // of a standby
  bool checkpoint();     // false: it cannot be done now
  void measure(LocalServer& out) const;

 private:
  enum class Phase { none, starting, running, stopping };
  struct Receiver {
    bool streaming = false;
    std::uint64_t number = 0;  // of the connection
    bool any = false;          // received something since the start
  };
  struct Sender {
    Place to = 0;
    std::uint64_t number = 0;
    Lsn sent, flushed;
    SyncRule rule;  // as this process last read it
  };

  void started();
  void become_running();
  void shutdown_checkpoint();
  void finish_stop();
  void ended();
  void note_recovery();
  void end_backends();

  // flushing.cc
  void append(std::uint64_t bytes);
  void write(std::uint64_t bytes);
  void flush_soon();
  void flush();
  void flushed_commits();
  void flushed_received();
  void keep_written();
  void forget_unwritten();
  void advance_replay();
  void replay_all();
  bool replays_still() const { return replayed() < around_.disk.wal.end; }

  // replication.cc
  void receive_from(std::optional<Place> upstream);
  void retry_receiving(Duration delay);
  void try_to_receive();
  bool accepts(const Disk& standby, const WalPoint& theirs) const;
  void watch_connection(std::uint64_t number);
  void watch_sender(std::uint64_t number, bool missed);
  void ship();
  void ship_to(Sender& sender);
  void received(std::uint64_t number, WalPoint upto);
  void confirmed(std::uint64_t number, Lsn flushed);
  void drop_senders();
  void drop_receiver();
  void begin_promotion();
  void promoted();

  // storage.cc
  void panic();
  void look_at_lock_file();
  void let_go_of_files();
  void restore_from_archive();

  // synchronous.cc
  SyncRule read_sync_rule() const;
  void begin_synchronous();
  void reload_synchronous();
  void checkpointer_reads();
  void release_waiters(const Sender& sender);
  void release_up_to(Lsn flushed, int waited_for);
  bool can_release() const { return postmaster_ && actor_.runs() && could_acknowledge(); }
  std::string sync_state(const Sender& sender) const;
  std::vector<Lsn> flushed_by_candidates(const Sender& asks) const;

  friend class Host;
  Surroundings around_;
  Rng rng_;
  Actor actor_;
  ServerTroubles troubles_;
  Phase phase_ = Phase::none;
  bool postmaster_ = false;
  bool backends_ = false;  // some are alive that could acknowledge
  bool recovery_ = false;
  bool consistent_ = false;
  bool promoting_ = false;
  bool unflushed_ = false;
  int replay_holds_ = 0;            // as queries do that replay would pull the rug from under
  bool sessions_fail_ = false;      // they want to open a file that is unlinked
  WalPoint written_;                // of the WAL, up to where it is in the kernel's hands
  std::vector<WalPoint> unsafe_;    // commits that are written and not flushed
  bool flushing_ = false;           // a flush is on its way
  Lsn replayed_before_, replayed_;  // a standby's replay goes from the one to the other
  Moment replayed_at_{};            // at this time
  Timeline reserved_ = 0;
  std::uint64_t starts_ = 0;  // so that a late report of an end is not taken for the next one's
  Moment began_at_{};
  Moment gone_at_{};  // when what was killed is reaped
  std::optional<Place> upstream_;
  Receiver receiver_;
  std::vector<Sender> senders_;
  SyncRule session_rule_;          // as a session sees it
  SyncRule shared_rule_;           // as the checkpointer last told all others
  Moment checkpointer_busy_{};     // until then
  std::vector<WalPoint> waiting_;  // commits that are not acknowledged yet
  std::uint64_t next_connection_;  // numbers are unique in the whole world
  std::uint64_t retry_ = 0;
  bool was_running_ = false;
};

}  // namespace pgsteady::sim
