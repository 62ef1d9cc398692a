#include "workers.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "harness/process.h"

namespace pgsteady::bench {
namespace {

struct Worker {
  std::size_t job;
  pid_t pid;
  int fd;
  std::string pending;
};

int work(std::size_t number, int fd, const std::function<void(std::size_t, const SendLine&)>& job) {
  testing::adopt_orphans();
  int status = 0;
  try {
    job(number, [fd](const std::string& line) {
      auto text = line + "\n";  // shorter than PIPE_BUF: written whole
      if (::write(fd, text.data(), text.size()) < 0) throw std::runtime_error("nobody listens");
    });
  } catch (const std::exception& e) {
    std::cerr << "bench: " << e.what() << "\n";
    status = 1;
  }
  testing::kill_orphans();
  return status;
}

Worker start(std::size_t number, const std::function<void(std::size_t, const SendLine&)>& job) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  const pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("cannot fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::close(ends[0]);
    ::_exit(::getppid() == parent ? work(number, ends[1], job) : 1);
  }
  ::close(ends[1]);
  return {number, pid, ends[0], {}};
}

// False at the end of what the worker has to say.
bool read_some(Worker& worker,
               const std::function<void(std::size_t, const std::string&)>& on_line) {
  char buffer[4096];
  auto n = ::read(worker.fd, buffer, sizeof buffer);
  if (n <= 0) return false;
  worker.pending.append(buffer, static_cast<std::size_t>(n));
  for (std::size_t end; (end = worker.pending.find('\n')) != std::string::npos;) {
    on_line(worker.job, worker.pending.substr(0, end));
    worker.pending.erase(0, end + 1);
  }
  return true;
}

bool finish(const Worker& worker) {
  ::close(worker.fd);
  int status = 0;
  return ::waitpid(worker.pid, &status, 0) == worker.pid && status == 0;
}

}  // namespace

bool run_workers(std::size_t count, std::size_t together,
                 const std::function<void(std::size_t, const SendLine&)>& job,
                 const std::function<void(std::size_t, const std::string&)>& on_line) {
  std::vector<Worker> running;
  bool ok = true;
  for (std::size_t next = 0; next < count || !running.empty();) {
    while (next < count && running.size() < std::max<std::size_t>(together, 1)) {
      running.push_back(start(next++, job));
    }
    std::vector<pollfd> fds;
    for (const auto& worker : running) fds.push_back({worker.fd, POLLIN, 0});
    ::poll(fds.data(), fds.size(), -1);
    for (std::size_t i = fds.size(); i-- > 0;) {
      if (fds[i].revents == 0 || read_some(running[i], on_line)) continue;
      ok = finish(running[i]) && ok;
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  return ok;
}

}  // namespace pgsteady::bench
