// The JSON documents of the REST interface, in Patroni's shapes.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <string>

#include "agent/status.h"
#include "cluster/view.h"

namespace pgsteady::api {

// What peers that are Patroni branch on; pgsteady's own version stands under "pgsteady".
inline constexpr const char* kPatroniVersion = "4.1.4";

bool is_running(const agent::NodeStatus& status);
// A leader lives on promises, or this node has given one that still binds it.
bool failsafe_is_active(const agent::NodeStatus& status, std::chrono::nanoseconds now);
std::string role(const agent::NodeStatus& status, std::chrono::nanoseconds now);

// What a replica is by the mode and the sync key: on, quorum, or neither.
SynchronousMode sync_role(const ClusterView& cluster, const MemberName& name);

// GET /patroni and the body of all health answers.
boost::json::object node_document(const agent::NodeStatus& status, std::chrono::nanoseconds now);
// GET /cluster, also behind `pgsteady list`.
boost::json::object cluster_document(const ClusterView& cluster, const std::string& scope);

}  // namespace pgsteady::api
