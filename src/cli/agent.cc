#include "agent/agent.h"

#include "api/endpoints.h"
#include "api/failsafe.h"
#include "api/operations.h"
#include "base/log.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "config/config.h"
#include "http/server.h"

namespace pgsteady::cli {
namespace {

// Until the loop's first turn the REST interface tells who this is, and no more.
void introduce(const config::NodeConfig& config, agent::StatusBoard& board) {
  agent::NodeStatus status;
  status.scope = config.scope;
  status.name = config.name;
  status.version = PGSTEADY_VERSION;
  status.tags = config.tags;
  status.loop_ran_at = boottime_now();
  status.ttl = DynamicConfig{}.ttl;
  board.publish(std::move(status));
}

void respond(const config::NodeConfig& config, const agent::StatusBoard& board,
             agent::Requests& requests, const http::Request& request, http::Answer answer) {
  if (!api::is_operation(request)) {
    return answer(api::respond(*board.read(), request, boottime_now()));
  }
  auto operation = api::parse_operation(request, config.restapi.authentication);
  if (!operation) return answer(operation.error());
  requests.submit(std::move(*operation),
                  [answer = std::move(answer)](int status, std::string text) {
                    answer(api::answer_operation(status, std::move(text)));
                  });
}

}  // namespace

int agent(const std::string& config_path) {
  keep_memory_private();
  auto config = config::load(config_path, process_environment());
  if (!config) return complain(config.error());
  set_log_level(config->log_level);
  BackgroundLog never_waits;
  agent::StatusBoard board;
  introduce(*config, board);
  http::ServerOptions options;
  options.host = config->restapi.listen_host;
  options.port = config->restapi.listen_port;
  agent::Promises promises;
  agent::Requests requests;
  auto server = http::serve(options, [&](const http::Request& request, http::Answer answer) {
    if (api::is_failsafe_question(request)) {
      return answer(api::answer_failsafe(*board.read(), promises, request, boottime_now()));
    }
    respond(*config, board, requests, request, std::move(answer));
  });
  if (!server) {
    log_error("restapi: {}", server.error().text());
    agent::give_up(1);
    return 1;
  }
  return agent::run_agent(*config, board, promises, requests);
}

}  // namespace pgsteady::cli
