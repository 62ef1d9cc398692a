// The agent: observe → decide → act, on one thread. It is started by the guardian.
#pragma once

#include "agent/promises.h"
#include "agent/requests.h"
#include "agent/status.h"
#include "config/config.h"

namespace pgsteady::agent {

// Runs until the guardian's stop has been carried out, or nothing sensible can follow. The result
// is the exit code that the guardian is told as well. `board` shows how things stand from the first
// turn on, `promises` are what other leaders were told, `requests` brings what operators ask for;
// all outlive the call.
int run_agent(const config::NodeConfig& config, StatusBoard& board, Promises& promises,
              Requests& requests);

// Tells the guardian that this node cannot run (a port is taken) and is not to be started again.
void give_up(int exit_code);

}  // namespace pgsteady::agent
