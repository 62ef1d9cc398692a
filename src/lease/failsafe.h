// Living without etcd on the word of all others: the book-keeping of promises, for the one that
// asks (FailsafeRound) and for those that are asked (Promiser). Step functions; the agent and the
// simulator call them.
//
// A promise is given to one epoch: "from now on, for so long by my clock, I neither take the leader
// lock nor let a transaction of mine take it". A leader that cannot renew its lease asks every node
// that could take the lock, that is every name in the `failsafe` key but its own. As soon as all of
// them have promised, its server may live on until the first of these promises runs out. A promise
// counts from the moment at which it was asked for, less the same margin as a lease.
//
// Only a deadline that still lies ahead can be moved on this way (the guardian refuses any other):
// before it nobody else can have taken the lock, after the answers nobody may. So a promise says
// nothing about the past, and nothing has to be kept on disk: a process that starts cannot know
// what the one before it promised, and takes no lock for the longest time that may have been.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lease/terms.h"

namespace pgsteady::lease {

// No promise is longer. Short, because it is also how long a node that has just started, or whose
// leader dies in a storm of network faults, keeps its hands off the lock.
constexpr Duration kLongestPromise = std::chrono::seconds(5);

// A renewal is late enough for the others to be asked: the last that counted gave this deadline.
constexpr Instant failsafe_due(Instant held_until, Duration ttl) {
  auto counted = held_until - (ttl - margin(ttl));
  return counted + renewal_interval(ttl) + std::min<Duration>(ttl / 20, std::chrono::seconds(1));
}

// The leader's side. Requests carry ids, so that answers may come late and in any order.
class FailsafeRound {
 public:
  // Everything starts over for another epoch. For the present one the list is replaced, and what
  // those who stay on it have promised stands. `others` may be empty: nobody else could take over.
  void adopt(const Epoch& epoch, Duration ttl, std::vector<std::string> others);
  void drop();

  void begin(Instant now);  // a round: each of the others is asked, with asked()
  std::uint64_t asked(const std::string& other, Instant now);
  void promised(std::uint64_t id, Duration length);
  void failed(std::uint64_t id);  // refused, or no answer: an earlier promise still stands

  const std::optional<Epoch>& epoch() const { return epoch_; }
  Duration ttl() const { return ttl_; }
  const std::vector<std::string>& others() const { return others_; }
  Duration length() const { return std::min(ttl_, kLongestPromise); }  // to ask for
  // Until when all have promised; nullopt before that.
  std::optional<Instant> held_until() const;

 private:
  struct Asked {
    std::string other;
    Instant sent;
  };

  std::optional<Epoch> epoch_;
  Duration ttl_{};
  std::vector<std::string> others_;
  std::optional<Instant> began_;
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Asked> under_way_;
  std::map<std::string, Instant> until_;
};

struct Promise {
  std::string leader;
  Epoch epoch;  // invalid: given to a Patroni, which names none
  Instant until;
  bool operator==(const Promise&) const = default;
};

// The other side. What it knows of its node comes from decisions, which may be some time ago: so
// whatever would take the lock has to pass begin_taking() first.
class Promiser {
 public:
  struct Standing {
    bool leads = false;    // holds the lock, may hold it, or runs a primary
    Epoch leader_key;      // the last leader key seen
    Instant unsure_until;  // a transaction without an answer may still take the lock
  };
  enum class Answer { promised, unknown, leading, superseded };

  void decided(const Standing& standing);
  // unknown: no decision was made yet. leading: this node may be the leader itself. superseded: a
  // later leader than the asking one is known.
  Answer ask(const std::string& leader, const Epoch& epoch, Duration& length, Instant now);
  // Right before a transaction that takes the lock is sent: false when a promise has been given
  // that the decision did not know. Until the next decided() this node counts as leading.
  bool begin_taking(const std::optional<Promise>& known);

  const std::optional<Promise>& promise() const { return promise_; }

 private:
  std::optional<Standing> standing_;
  std::optional<Promise> promise_;
};

}  // namespace pgsteady::lease
