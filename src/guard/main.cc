// pgsteady-guard: the top process of a node. See README.md; the rules stand in lease/guardian.h.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "guard/children.h"
#include "guard/keeper.h"
#include "guard/memory.h"
#include "guard/stderr_log.h"

namespace pgsteady::guard {
namespace {

constexpr char kUsage[] =
    "usage: pgsteady-guard [--stop-limit MS] [--lock FILE] [--no-memory-lock]\n"
    "       [--watchdog MODE] [--watchdog-device FILE] [--watchdog-margin S]\n"
    "       -- AGENT [ARGUMENT]...\n"
    "  --stop-limit MS   how long the agent may take to hand over at SIGTERM (default 8500)\n"
    "  --lock FILE       refuse to start while another guardian holds this file\n"
    "  --no-memory-lock  do not lock this process in memory\n"
    "  --watchdog MODE   automatic: feed a watchdog device while a server is armed, so that the\n"
    "                    host is reset when this process cannot fence; required: arm none\n"
    "                    without it\n"
    "  --watchdog-device FILE  the device (default /dev/watchdog)\n"
    "  --watchdog-margin S  it fires S seconds before the ttl is over; -1: at half of it "
    "(default)\n";

struct Arguments {
  long stop_limit_ms = 8500;
  std::string lock_path;
  bool memory_lock = true;
  WatchdogOptions watchdog;
  std::vector<std::string> agent;
};

bool read_number(const char* text, long& out) {
  char* end = nullptr;
  errno = 0;
  out = std::strtol(text, &end, 10);
  return errno == 0 && end != text && *end == 0 && out >= 0 && out <= 86'400'000;
}

bool read_mode(const std::string& text, WatchdogOptions& out) {
  using Mode = WatchdogOptions::Mode;
  if (text != "off" && text != "automatic" && text != "required") return false;
  out.mode = text == "off" ? Mode::off : text == "required" ? Mode::required : Mode::automatic;
  return true;
}

bool read_margin(const std::string& text, WatchdogOptions& out) {
  out.safety_margin_seconds = -1;
  return text == "-1" || read_number(text.c_str(), out.safety_margin_seconds);
}

// Empty when all is well.
std::string parse(int argc, char** argv, Arguments& out) {
  int at = 1;
  for (; at < argc && std::strcmp(argv[at], "--") != 0; ++at) {
    std::string option = argv[at];
    bool has_value = at + 1 < argc;
    if (option == "--no-memory-lock") {
      out.memory_lock = false;
    } else if (option == "--lock" && has_value) {
      out.lock_path = argv[++at];
    } else if (option == "--watchdog" && has_value) {
      if (!read_mode(argv[++at], out.watchdog)) return "--watchdog takes automatic or required";
    } else if (option == "--watchdog-device" && has_value) {
      out.watchdog.device = argv[++at];
    } else if (option == "--watchdog-margin" && has_value) {
      if (!read_margin(argv[++at], out.watchdog)) return "--watchdog-margin takes seconds, or -1";
    } else if (option == "--stop-limit" && has_value) {
      if (!read_number(argv[++at], out.stop_limit_ms)) {
        return "--stop-limit takes milliseconds, not \"" + std::string(argv[at]) + "\"";
      }
    } else {
      return "unknown or incomplete option \"" + option + "\"";
    }
  }
  for (++at; at < argc; ++at) out.agent.emplace_back(argv[at]);
  if (out.agent.empty()) return "no agent is named after --";
  if (out.agent.front().empty() || out.agent.front().front() != '/') {
    return "the agent's path is not absolute: \"" + out.agent.front() + "\"";
  }
  return {};
}

// Held until the process ends; children do not inherit it.
bool take_lock(const std::string& path) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    log("ERROR", "cannot open the lock file %s: %s", path.c_str(), std::strerror(errno));
    return false;
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = {};
    if (read(fd, holder, sizeof holder - 1) <= 0) std::strcpy(holder, "unknown");
    holder[std::strcspn(holder, "\n")] = 0;
    log("ERROR", "another guardian holds %s (process %s)", path.c_str(), holder);
    log("ERROR", "hint: this node runs already; stop it, or give this one a directory of its own");
    return false;
  }
  auto pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd, 0) != 0 || write(fd, pid.data(), pid.size()) < 0) {
    log("WARNING", "cannot write into the lock file %s: %s", path.c_str(), std::strerror(errno));
  }
  return true;
}

// Everything at once, code too: fencing must not wait for a page from a hung disk.
void stay_in_memory(Inherited& inherited) {
  rlimit wanted{RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_MEMLOCK, &wanted) != 0) {
    wanted = {inherited.memory_lock.rlim_max, inherited.memory_lock.rlim_max};
    setrlimit(RLIMIT_MEMLOCK, &wanted);
  }
  if (lock_memory()) return;
  int error = errno;
  log("WARNING",
      "the guardian is not locked in memory (%s): under memory pressure it may fence late",
      std::strerror(error));
  log("WARNING", "hint: raise the limit of locked memory (LimitMEMLOCK=, ulimit -l) to 8 MB");
}

// The kernel's search for memory must not take the guardian: the server would die with it.
void protect_from_oom(Inherited& inherited) {
  int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  char before[16] = {};
  if (read(fd, before, sizeof before - 1) > 0 && write(fd, "-1000", 5) == 5) {
    inherited.oom_score_adj = before;
  }
  close(fd);
}

int guard(const Arguments& arguments) {
  KeeperOptions options;
  options.agent_argv = arguments.agent;
  options.watchdog = arguments.watchdog;
  options.rules.stop_limit = std::chrono::milliseconds(arguments.stop_limit_ms);
  getrlimit(RLIMIT_MEMLOCK, &options.inherited.memory_lock);
  if (!can_see_children()) {
    log("ERROR", "cannot read /proc: nobody could say whether a server is gone");
    log("ERROR", "hint: mount /proc, with hidepid=0 for this user");
    return 1;
  }
  if (!arguments.lock_path.empty() && !take_lock(arguments.lock_path)) return 1;
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    log("ERROR", "cannot become the reaper of the server's processes: %s", std::strerror(errno));
    return 1;
  }
  protect_from_oom(options.inherited);
  if (arguments.memory_lock) stay_in_memory(options.inherited);
  prctl(PR_SET_DUMPABLE, 0);  // the agent's passwords are in our environment: for root's eyes only
  take_over_signals();
  log("INFO", "guardian started, process %d", getpid());
  return Keeper(std::move(options)).run();
}

int run(int argc, char** argv) {
  Arguments arguments;
  auto wrong = parse(argc, argv, arguments);
  if (!wrong.empty()) {
    std::fprintf(stderr, "pgsteady-guard: %s\n%s", wrong.c_str(), kUsage);
    return 2;
  }
  open_log();
  int code = guard(arguments);
  close_log();
  return code;
}

}  // namespace
}  // namespace pgsteady::guard

int main(int argc, char** argv) {
  return pgsteady::guard::run(argc, argv);
}
