// All that is only asked for (GET, HEAD, OPTIONS), in one function, for http::serve's handler.
//
// Pure: the same status, request and time give the same answer. Any thread.
#pragma once

#include <chrono>

#include "agent/status.h"
#include "http/message.h"

namespace pgsteady::api {

// `now` is boottime. Unknown paths answer 503 with the node's status, methods other than GET, HEAD
// and OPTIONS 501. HEAD and OPTIONS carry GET's status and no body.
http::Response respond(const agent::NodeStatus& status, const http::Request& request,
                       std::chrono::nanoseconds now);

}  // namespace pgsteady::api
