// The distributed configuration store as the agent sees it: one cluster's keys below a prefix.
//
// Threads: calls come from the loop's thread; each callback is run through the Post that was given
// at construction, so on the loop's thread again, exactly once, at the latest when the call's
// deadline has passed. Destroying a Dcs cancels what is under way; its callbacks are not run.
// Errors: retry (unreachable, timed out: whether a transaction happened is then unknown), refused
// (wrong user, password, certificate or permission), not_found (lease gone).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/etcd.h"

namespace pgsteady::dcs {

struct Options {
  std::vector<std::string> endpoints;  // "host:port", IPv6 in brackets; at least one
  std::string prefix;                  // "/service/demo/", with both slashes
  bool tls = false;
  std::string ca_file, cert_file, key_file;  // empty: the system's CAs, no client certificate
  std::string username, password;            // empty: no authentication
};

// Runs a function on the loop's thread, soon. Called from any thread; must not block.
using Post = std::function<void(std::function<void()>)>;

template <typename T>
using Callback = std::function<void(Result<T>)>;

struct Snapshot {
  std::vector<KeyValue> keys;  // relative to the prefix
  std::int64_t revision = 0;
  std::uint64_t term = 0;              // raft term of the answer
  std::chrono::nanoseconds sent_at{};  // boottime: the snapshot is not older than this
};

struct LeaseGrant {
  std::int64_t id = 0;
  std::chrono::nanoseconds ttl{};      // as granted, may be more than was asked for
  std::chrono::nanoseconds sent_at{};  // boottime of the request
};

struct LeaseRemaining {
  std::int64_t id = 0;
  std::int64_t remaining_seconds = 0;  // rounded down by etcd; -1: the lease is gone
  std::int64_t granted_seconds = 0;
  std::uint64_t term = 0;                             // raft term of the answer
  std::chrono::nanoseconds sent_at{}, received_at{};  // boottime
};

class Dcs {
 public:
  virtual ~Dcs() = default;

  // All keys below the prefix, linearizable.
  virtual void read(std::chrono::milliseconds limit, Callback<Snapshot> done) = 0;
  virtual void commit(const Txn& txn, std::chrono::milliseconds limit,
                      Callback<TxnResult> done) = 0;
  virtual void grant_lease(std::chrono::seconds ttl, std::chrono::milliseconds limit,
                           Callback<LeaseGrant> done) = 0;
  virtual void revoke_lease(std::int64_t id, std::chrono::milliseconds limit,
                            Callback<std::int64_t> done) = 0;
  // How long a lease would live without renewal. Costs etcd no raft proposal.
  virtual void lease_remaining(std::int64_t id, std::chrono::milliseconds limit,
                               Callback<LeaseRemaining> done) = 0;
  // From now on `changed` is run (through Post) each time that something below the prefix changed
  // or may have changed (watch lost, compacted, resumed). It carries no data: read() tells the
  // truth.
  virtual void watch(std::function<void()> changed) = 0;
};

// Never blocks, also when no endpoint answers: it connects as calls need it, and moves on to the
// next endpoint when one fails. Endpoints with a lower raft term than one already seen are skipped.
std::unique_ptr<Dcs> make_etcd(Options options, Post post);

}  // namespace pgsteady::dcs
