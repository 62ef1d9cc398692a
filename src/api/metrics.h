// GET /metrics: Patroni's names, and our own under pgsteady_.
#pragma once

#include <chrono>
#include <string>

#include "agent/status.h"

namespace pgsteady::api {

std::string metrics_text(const agent::NodeStatus& status, std::chrono::nanoseconds now);

}  // namespace pgsteady::api
