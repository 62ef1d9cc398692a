// The deterministic world's frame: true time, the queue of what happens next, who it happens to,
// and the record of what happened. One world, one thread; nothing here reads a clock.
#pragma once

#include <fmt/format.h>
#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "lease/time.h"
#include "sim/rng.h"

namespace pgsteady::sim {

using lease::Duration;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct TrueClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<TrueClock>;
  static constexpr bool is_steady = true;
};
// A point in true time, which no node can see.
using Moment = TrueClock::time_point;
using Task = std::function<void()>;

struct Event {
  Moment at;
  std::uint64_t number = 0;  // events of one moment happen in the order in which they were made
  std::uint32_t slot = 0;
};

// Something that runs and can die, stand still and be started anew: a process or a thread. Events
// of an earlier life are dropped, those that come while it stands still wait for it.
class Actor {
 public:
  bool alive() const { return alive_; }
  bool frozen() const { return freezes_ > 0; }
  bool runs() const { return alive_ && freezes_ == 0; }
  std::uint64_t life() const { return life_; }
  void begin() {
    ++life_;
    alive_ = true;
    freezes_ = 0;
    held_.clear();
  }
  void end() {
    ++life_;
    alive_ = false;
    held_.clear();
  }

 private:
  friend class World;
  std::uint64_t life_ = 0;
  int freezes_ = 0;  // several faults may freeze it at once
  bool alive_ = false;
  std::vector<Task> held_;
};

class World {
 public:
  explicit World(std::uint64_t seed) : rng_(seed) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Moment now() const { return now_; }
  Rng& rng() { return rng_; }

  // `actor` nullptr: happens in any case. Otherwise only in the life that it has now.
  void at(Moment when, Actor* actor, Task task);
  void after(Duration delay, Actor* actor, Task task) { at(now_ + delay, actor, std::move(task)); }
  void freeze(Actor& actor) { ++actor.freezes_; }
  void thaw(Actor& actor);  // what was held back happens now, in its order

  void run_until(Moment end);  // or until stop()
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }

  // One line per transition. The hash is made of them, printed or not.
  template <typename... Args>
  void trace(std::string_view who, fmt::format_string<Args...> format, Args&&... args) {
    record(who, fmt::format(format, std::forward<Args>(args)...));
  }
  void mix(std::uint64_t value) {  // what happens too often for a line
    hash_ = (hash_ ^ value) * 0x100000001b3ULL;
  }
  std::uint64_t hash() const { return hash_; }
  std::uint64_t events() const { return events_; }
  std::function<void(const std::string&)> on_line;  // each line, as it is made

  // A rare path was taken. `name` is a literal from rare_paths.h.
  void reached(const char* name) { reached_.insert(name); }
  const std::set<std::string_view>& reached() const { return reached_; }

  // An invariant does not hold. The first one ends the world.
  void violation(std::string what);
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  struct Pending {
    Actor* actor = nullptr;
    std::uint64_t life = 0;
    Task task;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };

  void record(std::string_view who, const std::string& text);
  void happen(const Event& event);

  Moment now_{};
  Rng rng_;
  std::priority_queue<Event, std::vector<Event>, Later> queue_;
  std::vector<Pending> pending_;
  std::vector<std::uint32_t> free_;
  std::uint64_t next_number_ = 0;
  std::uint64_t events_ = 0;
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
  std::set<std::string_view> reached_;
  std::vector<std::string> violations_;
  bool stopped_ = false;
};

inline double in_seconds(Moment moment) {
  return std::chrono::duration<double>(moment.time_since_epoch()).count();
}

}  // namespace pgsteady::sim
