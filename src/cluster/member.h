// A member of the cluster as it stands under members/NAME in etcd, in Patroni's JSON.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/types.h"
#include "cluster/setting_change.h"

namespace pgsteady {

// Tags keep their order and their types ('1' stays text), so they are held as JSON.
struct Tags {
  boost::json::object values;

  bool operator==(const Tags&) const = default;
  bool is_set(std::string_view tag) const;      // true, "true", 1, "yes", "on"
  static bool is_switch(std::string_view tag);  // of Patroni's own, on or off
  // Without switches that are off, but for a nofailover that has its say over a failover_priority.
  boost::json::object told() const;
  bool nofailover() const;  // nofailover, or failover_priority 0
  std::int64_t number(std::string_view tag, std::int64_t otherwise) const;
  bool noloadbalance() const { return is_set("noloadbalance"); }
  bool clonefrom() const { return is_set("clonefrom"); }
  // With nosync, sync_priority 0, or without a stream it is never waited for.
  bool nosync() const { return is_set("nosync") || nostream() || number("sync_priority", 1) <= 0; }
  bool nostream() const { return is_set("nostream"); }
  std::string replicatefrom() const;  // a member's name, empty when there is none
  // Of two nodes with the same WAL the higher leads; 1 unless told otherwise, 0 never leads.
  std::int64_t failover_priority() const;
};

struct Member {
  MemberName name;
  std::string conn_url;  // postgres://host:port/db, never with a password
  std::string api_url;   // http://host:port/patroni
  std::string state;     // running, starting, stopped, creating replica, ...
  std::string role;      // primary or replica; "master" is read as primary
  std::string version;   // dotted integers; peers branch on it
  std::string proxy_url;
  std::string replication_state;  // streaming, in archive recovery, or empty
  Tags tags;
  std::optional<Lsn> xlog_location;  // a primary's write position, else the greater of the next two
  std::optional<Lsn> receive_lsn;
  std::optional<Lsn> replay_lsn;
  Timeline timeline = 0;
  bool pending_restart = false;
  boost::json::object pending_restart_reason;  // setting_changes_json(); empty: not told
  bool pause = false;
  boost::json::object scheduled_restart;  // {"schedule", "postmaster_start_time"}; empty: none
  bool checkpoint_after_promote_pending = false;  // "checkpoint_after_promote": false

  std::int64_t lease = 0;  // of the key, not of the JSON
  std::int64_t mod_revision = 0;

  bool operator==(const Member&) const = default;
};

// The JSON for members/NAME: compact, absent when unknown. name, lease, mod_revision are not in it.
std::string member_to_json(const Member& member);
boost::json::object setting_changes_json(const SettingChanges& changes);
// Unknown keys are ignored; keys of a wrong type make an error that names them.
Result<Member> member_from_json(MemberName name, std::string_view json);

// host and port of a URL such as conn_url or api_url ("[::1]" without brackets); port 0 if absent.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  std::string text() const;  // host:port, an IPv6 address in brackets
  bool operator==(const HostPort&) const = default;
};
Result<HostPort> host_port_of_url(std::string_view url);

}  // namespace pgsteady
