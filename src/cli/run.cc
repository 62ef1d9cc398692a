#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "base/log.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "config/config.h"

namespace pgsteady::cli {
namespace {

namespace fs = std::filesystem;

std::string own_path() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).string();
}

// Beside this program, else in PATH.
Result<std::string> find_guard(const std::string& self) {
  auto beside = fs::path(self).parent_path() / "pgsteady-guard";
  if (::access(beside.c_str(), X_OK) == 0) return beside.string();
  const char* path = std::getenv("PATH");
  std::stringstream search(path ? path : "");
  for (std::string directory; std::getline(search, directory, ':');) {
    auto candidate = fs::path(directory) / "pgsteady-guard";
    if (directory.starts_with('/') && ::access(candidate.c_str(), X_OK) == 0) {
      return candidate.string();
    }
  }
  return fail(ErrorKind::not_found, fmt::format("no pgsteady-guard beside {} or in PATH", self),
              "the guardian is installed together with pgsteady");
}

tl::unexpected<Error> state_error(const std::string& path, const std::string& why) {
  return fail(ErrorKind::refused, fmt::format("state directory {}: {}", path, why),
              "it must belong to the user who runs pgsteady; pgsteady.state_dir moves it");
}

// Secrets (pgpass) and the guardian's lock lie there: ours alone.
Result<std::string> prepare_state_dir(const std::string& path) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return state_error(path, std::strerror(errno));
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return state_error(path, std::strerror(errno));
  if (!S_ISDIR(info.st_mode)) return state_error(path, "is no directory");
  if (info.st_uid != ::geteuid()) return state_error(path, "belongs to another user");
  if (::chmod(path.c_str(), 0700) != 0) return state_error(path, std::strerror(errno));
  return path;
}

Error become(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execv(argv.front(), argv.data());
  return {ErrorKind::fatal, fmt::format("cannot run {}: {}", command[0], std::strerror(errno)), ""};
}

}  // namespace

int run(const std::string& config_path) {
  auto config = config::load(config_path, process_environment());
  if (!config) return complain(config.error());
  if (::geteuid() == 0) {
    return complain({ErrorKind::refused, "cannot run as root, as PostgreSQL cannot",
                     "runuser -u postgres -- pgsteady run " + config_path});
  }
  set_log_level(config->log_level);
  for (const auto& warning : config->warnings) log_warning("{}", warning);
  auto self = own_path();
  auto guard = find_guard(self);
  if (!guard) return complain(guard.error());
  auto state_dir = prepare_state_dir(config->server.state_dir);
  if (!state_dir) return complain(state_dir.error());
  std::error_code ignored;
  auto absolute = fs::absolute(config_path, ignored).string();
  std::vector<std::string> command = {*guard, "--lock", *state_dir + "/guard.lock"};
  if (const auto& watchdog = config->watchdog; watchdog.mode != "off") {
    command.insert(command.end(),
                   {"--watchdog", watchdog.mode, "--watchdog-device", watchdog.device,
                    "--watchdog-margin", std::to_string(watchdog.safety_margin_seconds)});
  }
  command.insert(command.end(), {"--", self, "agent", absolute});
  return complain(become(command));
}

}  // namespace pgsteady::cli
