// Carries the steps of a plan out: what can be done to nodes, network, etcd, disks and clocks, and
// undone again. faults.cc has the table of verbs.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/request.h"
#include "sim/plan.h"

namespace pgsteady::sim {

// Who a verb's arguments are, which decides what random plans give it.
enum class Target {
  none,
  node,
  node_and_ms,      // a node and a duration in milliseconds
  node_and_number,  // a node and a clock drift in ppm
  pair,             // two of: nodes, "etcd"
  pair_and_number,
  etcd_member,
  number,
  key,
  disk,    // of a node
  people,  // people.cc knows
};

struct Verb {
  const char* name;
  Target target;
  int weight;       // how often random plans draw it; 0: scenarios only
  bool gentle;      // loses no acknowledged commit
  int shortest_ms;  // how long it lasts in random plans; 0: it is over at once
  int longest_ms;
};

const std::vector<Verb>& verbs();
std::vector<Verb> verbs_of_faults();  // faults.cc
std::vector<Verb> verbs_of_disks();   // disk_faults.cc
std::vector<Verb> verbs_of_people();  // people.cc
// What a random plan gives to one of the latter.
std::vector<std::string> peoples_words(std::string_view verb, const Settings& settings, Rng& rng);
const Verb* find_verb(std::string_view name);
int number_of(const Step& step, std::size_t index);  // of an argument; 0: there is none

class Operator {
 public:
  explicit Operator(Cluster& cluster) : cluster_(cluster) {}

  // Begins the step now and ends it when its time is over. An unknown verb is a violation: the
  // plan is wrong.
  void carry_out(const Step& step);
  void heal();  // ends everything that still lasts, and switches every node on
  // A disk that was set back may have held the newest WAL alone: then check_timeline or
  // maximum_lag_on_failover keep everybody from leading until somebody says otherwise.
  void give_up_lost_wal();

 private:
  using Undo = std::function<void()>;

  Undo begin(const Step& step);
  Undo begin_on_host(const Step& step, Host& host);
  Undo begin_trouble(const Step& step, Host& host);
  Undo begin_on_network(const Step& step);  // faults_around.cc
  Undo begin_on_etcd(const Step& step);
  Undo begin_on_config(const Step& step);  // faults_pause.cc
  void write_config();
  Undo begin_on_disk(const Step& step, Host& host);
  Undo begin_by_people(const Step& step);
  void ask(const Step& step, core::Request request);
  void change_config(const std::string& key, const std::string& value);
  MemberName member(const std::string& word);
  Place place(const std::string& word);  // -1: nobody
  std::vector<Place> places(const std::string& word);
  void end(std::size_t index);

  Cluster& cluster_;
  std::vector<Undo> lasting_;
  int pauses_ = 0, failsafe_offs_ = 0;  // that last
  int ttl_seconds_ = 0;                 // 0: as it was made
  struct Snapshot {
    Place place;
    Disk disk;
  };
  std::vector<Snapshot> snapshots_;
};

}  // namespace pgsteady::sim
