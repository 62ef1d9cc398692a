// The health checks: is this node what the path asks for?
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "agent/status.h"
#include "http/message.h"

namespace pgsteady::api {

// The leader key is held and its deadline lies ahead; a primary's answers end with its right to be
// one, whatever the loop last said.
bool holds_lock(const agent::NodeStatus& status, std::chrono::nanoseconds now);

// Whether the node fits the health path `name` ("replica", without slash; "" is "primary").
// nullopt: no health path of that name.
std::optional<bool> healthy(const std::string& name, const agent::NodeStatus& status,
                            const http::Request& request, std::chrono::nanoseconds now);

bool alive(const agent::NodeStatus& status, std::chrono::nanoseconds now);  // /liveness
bool ready(const agent::NodeStatus& status, const http::Request& request,
           std::chrono::nanoseconds now);  // /readiness

// "1048576", "16kB", "10 MB", "1GB", "1TB" in bytes; nullopt when it is none of that.
std::optional<std::int64_t> parse_bytes(std::string_view text);

}  // namespace pgsteady::api
