// POST /failsafe: a leader without etcd asks this node not to take the lock for a while.
#pragma once

#include <chrono>

#include "agent/promises.h"
#include "agent/status.h"
#include "http/message.h"

namespace pgsteady::api {

bool is_failsafe_question(const http::Request& request);

// Patroni's answers: 200 "Accepted" with the header lsn, 500 with the reason, 502 when the mode is
// off, 400 for what cannot be read; and the promise's length in our own header. Any thread; `now`
// is boottime.
http::Response answer_failsafe(const agent::NodeStatus& status, agent::Promises& promises,
                               const http::Request& request, std::chrono::nanoseconds now);

}  // namespace pgsteady::api
