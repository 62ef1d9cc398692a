// The faults that a run is composed of.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "chaos/world.h"

namespace pgsteady::chaos {

struct Fault {  // one that was made
  std::string what;
  std::function<void()> undo = [] {};  // World::heal does, too
};

// A kind of fault, and what docs/safety.md does not promise under it.
struct FaultKind {
  std::string name;
  int weight;
  bool may_lose;   // asynchronous commits that no standby had received
  bool may_stale;  // an old primary may acknowledge for the moment before it is fenced
  std::function<Fault(World&, Dice&)> make;
};

std::vector<FaultKind> network_faults();
std::vector<FaultKind> process_faults();
std::vector<FaultKind> etcd_faults();  // processes and keys
std::vector<FaultKind> disk_faults();
std::vector<FaultKind> clock_faults();

}  // namespace pgsteady::chaos
