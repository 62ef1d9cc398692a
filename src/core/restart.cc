// Restart and reinitialize, asked for by hand. Both only take the server down: the rules that bring
// up any server that is down do the rest.
#include "core/turn.h"

namespace pgsteady::core {
namespace {

constexpr auto kStopLimit = seconds(60);    // for the server to stop; then it is killed
constexpr auto kStartLimit = seconds(300);  // for it to answer again, where no timeout was given

void answer_restart(Turn& turn, int status, std::string text) {
  auto& restart = turn.state.restart;
  turn.say(fmt::format("restart: {}", text));
  if (restart->request.id != 0) {
    turn.act(Reply{restart->request.id, status, std::move(text)});
  }
  restart.reset();
}

const char* name_of(JobKind kind) {
  switch (kind) {
    case JobKind::initdb:
      return "bootstrap";
    case JobKind::clone:
      return "reinitialize";
    case JobKind::rewind:
      return "pg_rewind";
    case JobKind::start:
      return "starting";
    case JobKind::stop:
      return "stopping";
    case JobKind::promote:
      return "promote";
    default:
      return "configuration";
  }
}

bool conditions_hold(const Turn& turn, const Request& request) {
  const auto& server = turn.seen.server;
  if (request.restart_pending && server.pending_restart.empty()) return false;
  if (request.postgres_version != 0 && server.version >= request.postgres_version) return false;
  if (request.role.empty()) return true;
  return request.role == (turn.is_primary() ? "primary" : "replica");
}

void begin_restart(Turn& turn, const Request& request) {
  auto refuse = [&](const std::string& why) {
    turn.say("restart: " + why);
    if (request.id != 0) turn.act(Reply{request.id, 503, why});
  };
  if (!conditions_hold(turn, request)) return refuse("restart conditions are not satisfied");
  if (turn.state.restart) return refuse("restart already in progress");
  if (turn.seen.job) return refuse(fmt::format("{} already in progress", name_of(*turn.seen.job)));
  if (turn.is_primary() && !turn.state.lock) return refuse("this primary does not have the lock");
  if (turn.state.handing_over || turn.seen.stop_by) return refuse("the server is being stopped");
  auto limit = request.timeout.count() != 0 ? request.timeout : lease::Duration(kStartLimit);
  turn.state.restart = Restart{request, turn.now.boot + limit, false};
}

Reply check_restart_schedule(const Turn& turn, const Request& request) {
  auto refusal = check_schedule(turn, request, "restart");
  if (refusal.status != 0) return refusal;
  if (turn.state.scheduled_restart) {
    return {request.id, 409, "Another restart is already scheduled"};
  }
  return {request.id, 202, "Restart scheduled"};
}

void schedule_restart(Turn& turn, const Request& request) {
  if (turn.paused()) {
    return turn.act(Reply{request.id, 500, "Can't schedule restart in the paused state"});
  }
  auto reply = check_restart_schedule(turn, request);
  if (reply.status == 202) {
    turn.state.scheduled_restart = request;
    turn.state.scheduled_restart->id = 0;
    turn.state.scheduled_for = turn.seen.server.start_time;
  }
  turn.act(std::move(reply));
}

std::string why_not_reinitialize(const Turn& turn, const Request& request) {
  const auto& leader = turn.cluster().leader;
  if (!turn.fresh()) return "DCS is not accessible";
  if (!leader) return "Cluster has no leader, can not reinitialize";
  if (turn.state.lock || leader->name == turn.self.name) {
    return "I am the leader, can not reinitialize";
  }
  if (turn.is_primary()) return "a primary runs here, can not reinitialize";
  if (turn.state.reinitialize) return "reinitialize already in progress";
  if (turn.seen.job && !request.force) {
    return fmt::format("{} already in progress", name_of(*turn.seen.job));
  }
  return {};
}

}  // namespace

void ask_restart(Turn& turn, const Request& request) {
  if (!request.scheduled_at.empty()) return schedule_restart(turn, request);
  begin_restart(turn, request);
}

void cancel_restart(Turn& turn, const Request& request) {
  bool there = turn.state.scheduled_restart.has_value();
  turn.state.scheduled_restart.reset();
  turn.act(there ? Reply{request.id, 200, "scheduled restart deleted"}
                 : Reply{request.id, 404, "no restart is scheduled"});
}

void ask_reinitialize(Turn& turn, const Request& request) {
  if (auto why = why_not_reinitialize(turn, request); !why.empty()) {
    return turn.act(Reply{request.id, 503, why});
  }
  if (turn.seen.job) turn.act(CancelJob{});
  turn.state.reinitialize = true;
  turn.state.reclone_why.clear();
  turn.act(Reply{request.id, 200, "reinitialize started"});
}

// A restart of the server in between makes the scheduled one void.
void duty_scheduled_restart(Turn& turn) {
  auto& scheduled = turn.state.scheduled_restart;
  if (!scheduled) return;
  if (turn.server_running() && turn.seen.server.start_time != turn.state.scheduled_for) {
    turn.say("the server was restarted meanwhile: the scheduled restart is void");
    return scheduled.reset();
  }
  auto at = parse_time(scheduled->scheduled_at);
  auto left = at ? at->time - turn.now.wall : WallTime::duration(0);
  if (left > seconds(0)) {
    return turn.wake_in(std::chrono::duration_cast<lease::Duration>(left));
  }
  if (turn.busy()) return;
  auto request = *scheduled;
  scheduled.reset();
  if (turn.paused()) return turn.say("no scheduled restart in a pause");
  begin_restart(turn, request);
}

// True while the server goes down; the usual rules bring it up again.
bool rule_restart(Turn& turn) {
  auto& restart = turn.state.restart;
  if (!restart) return false;
  turn.wake_at(restart->until);
  if (turn.now.boot >= restart->until) {
    answer_restart(turn, 503, restart->stopped ? "postgres is still starting" : "restart failed");
    return false;
  }
  if (!restart->stopped) {
    restart->stopped = !turn.process_exists();
    if (restart->stopped) return false;
    if (!turn.busy() && turn.seen.guard.phase == ServerPhase::running) {
      turn.say("restarting PostgreSQL");
      turn.act(StopServer{StopServer::Mode::fast, turn.is_primary(), kStopLimit});
    }
    return true;
  }
  if (turn.server_running() && !turn.busy()) answer_restart(turn, 200, "restarted successfully");
  return false;
}

// True while the data is given up and fetched anew.
bool rule_reinitialize(Turn& turn) {
  auto& state = turn.state;
  if (!state.reinitialize) return false;
  if (state.lock) {  // it was promoted before anything was given up
    state.reinitialize = false;
    return false;
  }
  auto leader = upstream_of_leader(turn);
  if (turn.busy() || !leader || !turn.fresh()) return turn.busy();
  if (turn.process_exists()) {
    if (turn.seen.guard.phase == ServerPhase::running) {
      turn.act(StopServer{StopServer::Mode::fast, false, seconds(10)});
    }
    return true;
  }
  turn.say("asked to reinitialize");
  clone_from(turn, *leader);
  return true;
}

// A server that a pause would leave down comes up: after a hand-over or a restart by hand.
void rule_bring_up(Turn& turn) {
  if (turn.server_running()) {
    turn.state.returning = false;
    return;
  }
  if (turn.busy() || (turn.seen.dcs.reachable && !turn.fresh())) return;
  if (!turn.seen.dcs.reachable) return rule_no_dcs(turn);
  if (turn.cluster().leader) return rule_follow(turn);
  (void)rule_no_leader(turn);
}

}  // namespace pgsteady::core
