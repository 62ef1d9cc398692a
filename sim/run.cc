#include "sim/run.h"

#include <algorithm>

#include "sim/agent.h"
#include "sim/faults.h"

namespace pgsteady::sim {
namespace {

constexpr Duration kLookForConvergence = milliseconds(500);
constexpr Duration kSettles = seconds(8);  // after convergence, before idleness is measured
constexpr Duration kIdle = seconds(12);
constexpr Duration kAnswered = seconds(90);

class Run {
 public:
  Run(const Plan& plan, const std::function<void(const std::string&)>& on_line)
      : plan_(plan),
        world_(plan.seed),
        cluster_(on(world_, on_line), plan.settings),
        operator_(cluster_) {}

  Outcome go() {
    cluster_.start();
    auto end = Moment(plan_.length);
    for (const auto& step : plan_.steps) {
      world_.at(Moment(step.at), nullptr, [this, &step] { operator_.carry_out(step); });
      end = std::max(end, Moment(step.at + step.lasts + milliseconds(1)));
    }
    world_.run_until(end);
    if (!world_.stopped()) {
      operator_.heal();
      must_converge(end + bound());
    }
    if (!world_.stopped()) must_be_idle();
    if (!world_.stopped()) check_expectations();
    return outcome();
  }

 private:
  static World& on(World& world, const std::function<void(const std::string&)>& on_line) {
    world.on_line = on_line;
    return world;
  }

  // Starts that were held back, a recovery of 20 s, a back-off of 30 s, a clone.
  Duration bound() const {
    return seconds(90) +
           4 * (seconds(plan_.settings.ttl_seconds) + milliseconds(plan_.settings.loop_wait_ms));
  }

  void must_converge(Moment limit) {
    while (!world_.stopped() && world_.now() < limit) {
      world_.run_until(world_.now() + kLookForConvergence);
      operator_.give_up_lost_wal();
      if (cluster_.converged()) break;
    }
    if (world_.stopped()) return;
    if (!cluster_.converged()) {
      return world_.violation("not converged in time: " + cluster_.picture());
    }
    world_.trace("CHECK", "converged");
    cluster_.checker.check_lost(cluster_.primary());
  }

  void must_be_idle() {
    cluster_.set_client(false);
    // A node that was removed is listed for a while.
    auto limit = world_.now() + seconds(90);
    while (!cluster_.lists_everybody() && !world_.stopped() && world_.now() < limit) {
      world_.run_until(world_.now() + kLookForConvergence);
    }
    world_.run_until(world_.now() + kSettles + milliseconds(2 * plan_.settings.loop_wait_ms));
    auto writes = writes_while_idle();
    if (writes > 0) writes = writes_while_idle();  // a patience of minutes may have come to its end
    if (world_.stopped()) return;
    if (writes > 0) world_.violation(fmt::format("{} writes to etcd while idle", writes));
    if (!cluster_.converged()) world_.violation("did not stay whole: " + cluster_.picture());
    cluster_.checker.check_schedule();
    for (Place each = 0; each < cluster_.nodes(); ++each) {
      auto* agent = cluster_.host(each).agent();
      if (agent && agent->has_unanswered(kAnswered)) {
        world_.violation(cluster_.host(each).name() + " never answered a request");
      }
    }
  }

  std::int64_t writes_while_idle() {
    auto before = cluster_.etcd.revision();
    world_.run_until(world_.now() + kIdle);
    return cluster_.etcd.revision() - before;
  }

  void check_expectations() {
    for (const auto& expectation : plan_.expectations) {
      auto wrong = unmet(expectation.what);
      if (!wrong.empty()) world_.violation("expected " + expectation.what + "; " + wrong);
    }
  }

  // Empty: it is as expected.
  std::string unmet(const std::string& what) {
    auto& checker = cluster_.checker;
    if (what.starts_with("leader ")) {
      const auto& name = cluster_.host(cluster_.primary()).name();
      return name == what.substr(7) ? "" : "it is " + name;
    }
    if (what.starts_with("lost ")) {
      auto most = parse_decimal(what.substr(5)).value_or(0);
      return checker.lost() <= most ? "" : fmt::format("{} were lost", checker.lost());
    }
    if (what.starts_with("reached ")) {
      return world_.reached().count(what.substr(8)) ? "" : "it was not";
    }
    if (what.starts_with("outage below ")) {
      auto limit = parse_decimal(what.substr(13)).value_or(0);
      auto longest = std::chrono::duration_cast<milliseconds>(checker.longest_outage()).count();
      return longest < static_cast<std::int64_t>(limit) ? "" : fmt::format("it was {} ms", longest);
    }
    if (what.starts_with("outage above ")) {
      auto limit = parse_decimal(what.substr(13)).value_or(0);
      auto longest = std::chrono::duration_cast<milliseconds>(checker.longest_outage()).count();
      return longest > static_cast<std::int64_t>(limit) ? "" : fmt::format("it was {} ms", longest);
    }
    if (what.starts_with("grants at least ")) {
      auto least = parse_decimal(what.substr(16)).value_or(0);
      return checker.grants() >= least ? "" : fmt::format("there were {}", checker.grants());
    }
    if (what.starts_with("grants ")) {
      auto most = parse_decimal(what.substr(7)).value_or(0);
      return checker.grants() <= most ? "" : fmt::format("there were {}", checker.grants());
    }
    return "there is no such expectation";
  }

  Outcome outcome() {
    Outcome out;
    out.violations = world_.violations();
    out.hash = world_.hash();
    out.events = world_.events();
    out.simulated = world_.now().time_since_epoch();
    out.acknowledged = cluster_.checker.acknowledgements();
    out.lost = cluster_.checker.lost();
    out.reached = world_.reached();
    return out;
  }

  const Plan& plan_;
  World world_;
  Cluster cluster_;
  Operator operator_;
};

}  // namespace

Outcome run_plan(const Plan& plan, const std::function<void(const std::string&)>& on_line) {
  return Run(plan, on_line).go();
}

}  // namespace pgsteady::sim
