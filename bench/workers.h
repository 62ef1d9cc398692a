// Jobs in processes of their own, so that each ends what it has started and nothing else.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace pgsteady::bench {

// Sends one line, without its end, to the process that asked for the job.
using SendLine = std::function<void(const std::string&)>;

// Runs jobs 0 to `count` - 1 in their order, at most `together` at a time, and hands their lines to
// `on_line` in this process. To be called while there are no threads. False: a job threw or was
// killed; the others still run.
bool run_workers(std::size_t count, std::size_t together,
                 const std::function<void(std::size_t, const SendLine&)>& job,
                 const std::function<void(std::size_t, const std::string&)>& on_line);

}  // namespace pgsteady::bench
