// What another member says of itself in its GET /patroni: Patroni's fields, and our own under
// "pgsteady". A peer may run Patroni; then there is no race figure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "cluster/member.h"

namespace pgsteady::agent {

struct PeerStatus {
  MemberName name;
  std::string scope;
  std::string state;                     // running, starting, stopped, ...
  std::string role;                      // primary or replica ("master" is read as primary)
  Timeline timeline = 0;                 // 0: not told
  std::optional<Lsn> location;           // a primary's write position
  std::optional<Lsn> received_location;  // a standby's
  std::optional<Lsn> replayed_location;
  std::optional<SystemId> system_id;
  Tags tags;
  bool pause = false;
  bool cluster_unlocked = false;
  struct Race {
    std::int64_t leaderless_revision = 0;
    Timeline timeline = 0;
    Lsn lsn;
  };
  std::optional<Race> race;
  bool unfit = false;    // says of itself that others are to lead before it
  std::string version;   // of pgsteady, empty when the peer is Patroni
  std::string instance;  // of its process, likewise

  bool running() const { return state == "running"; }
  bool is_primary() const { return running() && role == "primary"; }
  bool in_recovery() const { return running() && role != "primary"; }
  // How far its WAL reaches; nullopt when it did not say.
  std::optional<Lsn> last_lsn() const;
};

// Errors: corrupt, naming each field of a wrong type. Unknown fields are passed over.
Result<PeerStatus> parse_patroni(std::string_view body);

}  // namespace pgsteady::agent
