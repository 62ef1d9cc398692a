#include "agent/agent.h"

#include "agent/loop.h"
#include "base/log.h"

namespace pgsteady::agent {

int run_agent(const config::NodeConfig& config, StatusBoard& board, Promises& promises,
              Requests& requests) {
  auto guard = guard::Client::from_environment();
  if (!guard) {
    log_error("{}", guard.error().text());
    return 1;
  }
  Loop loop(config, std::move(*guard), board, promises, requests);
  return loop.run();
}

void give_up(int exit_code) {
  auto guard = guard::Client::from_environment();
  if (guard) (void)(*guard)->finished(exit_code);
}

}  // namespace pgsteady::agent
