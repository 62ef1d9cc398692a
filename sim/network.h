// The network between nodes and etcd members: per directed pair a delay, losses, cuts. What is sent
// over one stream arrives in order and once; a single message may arrive twice, as one that is sent
// anew while its answer is late. A message into a cut link is lost, or, as TCP sends again, arrives
// when the link is whole again.
#pragma once

#include <vector>

#include "sim/world.h"

namespace pgsteady::sim {

using Place = int;  // nodes 0..nodes-1, then the etcd members

struct Link {
  int cuts = 0;            // several faults may cut it at once
  Duration delay{};        // added to the usual one
  int lost_per_mille = 0;  // of single messages
  Moment last_arrival{};   // of the streams
  Moment touched{};        // by a fault
  std::vector<std::pair<Actor*, std::pair<std::uint64_t, Task>>> held;
};

class Network {
 public:
  Network(World& world, int places);

  // `stream`: in order, and not lost while the link stands. The receiver's life is the one that it
  // has when the message is sent (a connection ends with the process).
  void send(Place from, Place to, Actor* receiver, bool stream, Task task);
  bool whole(Place from, Place to) const { return link(from, to).cuts == 0; }
  bool whole_both_ways(Place a, Place b) const { return whole(a, b) && whole(b, a); }

  bool was_whole(Place a, Place b, Duration length) const;  // both ways, for so long

  void cut(Place from, Place to) {
    ++link(from, to).cuts;
    link(from, to).touched = world_.now();
  }
  void mend(Place from, Place to);
  void slow(Place from, Place to, Duration delay) {
    link(from, to).delay = delay;
    link(from, to).touched = world_.now();
  }
  void lose(Place from, Place to, int per_mille) {
    link(from, to).lost_per_mille = per_mille;
    link(from, to).touched = world_.now();
  }

 private:
  Link& link(Place from, Place to) { return links_[static_cast<std::size_t>(from * places_ + to)]; }
  const Link& link(Place from, Place to) const {
    return links_[static_cast<std::size_t>(from * places_ + to)];
  }
  void arrive(Link& link, Actor* receiver, bool stream, Task task);

  World& world_;
  int places_;
  Rng rng_;
  std::vector<Link> links_;
};

}  // namespace pgsteady::sim
