#include "harness/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace pgsteady::testing {
namespace fs = std::filesystem;

namespace {

constexpr std::uintmax_t kPlenty = std::uintmax_t{6} << 30;

std::set<pid_t>& own_children() {  // those that a Process object waits for
  static std::set<pid_t> pids;
  return pids;
}

// Orphans that came to us stay zombies, and look like live servers, until they are waited for.
void reap_orphans() {
  for (pid_t child : children_of(getpid())) {
    if (!own_children().contains(child) && state_of(child) == 'Z') waitpid(child, nullptr, WNOHANG);
  }
}

}  // namespace

bool eventually(Millis limit, const std::function<bool()>& done, Millis pause) {
  const auto deadline = Clock::now() + limit;
  while (!done()) {
    if (Clock::now() >= deadline) return false;
    reap_orphans();
    std::this_thread::sleep_for(pause);
  }
  return true;
}

const ServerUser& server_user() {
  static const ServerUser user = [] {
    if (geteuid() != 0) return ServerUser{geteuid(), getegid(), false};
    const passwd* entry = getpwnam("postgres");
    if (!entry) throw std::runtime_error("there is no user postgres to run servers as");
    return ServerUser{entry->pw_uid, entry->pw_gid, true};
  }();
  return user;
}

static void hand_over(const fs::path& path) {
  if (server_user().drop && chown(path.c_str(), server_user().uid, server_user().gid) != 0) {
    throw std::runtime_error("cannot hand " + path.string() + " to the server user");
  }
}

TempDir::TempDir(Where where) {
  std::error_code none;
  const auto memory = fs::space("/dev/shm", none);
  const bool fits = where == Where::memory && !none && memory.available >= kPlenty;
  std::string name = std::string(fits ? "/dev/shm" : "/tmp") + "/pgsteady-test-XXXXXX";
  if (!mkdtemp(name.data())) throw std::runtime_error("cannot make " + name);
  path_ = name;
  hand_over(path_);
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_private(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  hand_over(path);
}

std::string tail(const fs::path& path, int lines) {
  std::ifstream in(path);
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    last.push_back(line);
    if (last.size() > static_cast<std::size_t>(lines)) last.pop_front();
  }
  std::string text;
  for (const auto& line : last) text += line + "\n";
  return text;
}

static bool can_bind(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return free;
}

int free_port() {
  constexpr int kFirst = 20000, kCount = 12000;
  static int next = getpid() * 37 % kCount;
  for (int tried = 0; tried < kCount; ++tried) {
    int port = kFirst + next++ % kCount;
    if (can_bind(port)) return port;
  }
  throw std::runtime_error("no free port between 20000 and 32000");
}

// setpriv drops the user and then asks for the death signal, in the order that keeps it set.
static std::vector<std::string> as_server_user(const std::vector<std::string>& argv) {
  std::vector<std::string> full = {"setpriv", "--pdeathsig", "KILL"};
  if (server_user().drop) {
    full.push_back("--reuid=" + std::to_string(server_user().uid));
    full.push_back("--regid=" + std::to_string(server_user().gid));
    full.emplace_back("--init-groups");
  }
  full.emplace_back("--");
  full.insert(full.end(), argv.begin(), argv.end());
  return full;
}

static std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

Process::Process(const std::vector<std::string>& argv, const fs::path& log,
                 const std::vector<std::string>& environment, int space) {
  auto full = as_server_user(argv);
  auto arguments = pointers(full);
  std::vector<std::string> variables = {"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                                        "LC_ALL=C.UTF-8", "HOME=/nonexistent", "TZ=UTC"};
  variables.insert(variables.end(), environment.begin(), environment.end());
  auto env = pointers(variables);
  int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (out < 0 || null < 0) throw std::runtime_error("cannot open " + log.string());
  pid_ = fork();
  if (pid_ == 0) {  // other threads may hold locks: system calls only from here to exec
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    setpgid(0, 0);  // a Ctrl-C on the terminal is the test's to handle
    dup2(null, 0);
    dup2(out, 1);
    dup2(out, 2);
    if (chdir("/tmp") != 0 || (space >= 0 && setns(space, CLONE_NEWNET) != 0)) _exit(126);
    execve("/usr/bin/setpriv", arguments.data(), env.data());
    _exit(127);
  }
  close(out);
  close(null);
  if (pid_ < 0) throw std::runtime_error("cannot start " + argv.front());
  own_children().insert(pid_);
}

Process::~Process() {
  kill();
  own_children().erase(pid_);
}

bool Process::running() {
  return !wait(Millis(0));
}

void Process::signal(int number) {
  if (running()) ::kill(pid_, number);
}

std::optional<int> Process::wait(Millis limit) {
  eventually(
      limit,
      [&] {
        int status = 0;
        if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
        return status_.has_value();
      },
      Millis(5));
  return status_;
}

void Process::kill() {
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  ::kill(pid_, SIGCONT);
  wait(Millis(10000));
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::error_code error;
  fs::directory_iterator tasks("/proc/" + std::to_string(pid) + "/task", error);
  for (; !error && tasks != fs::directory_iterator(); tasks.increment(error)) {
    std::ifstream in(tasks->path() / "children");
    for (pid_t child = 0; in >> child;) children.push_back(child);
  }
  return children;
}

std::vector<pid_t> descendants_of(pid_t pid) {
  std::vector<pid_t> all = children_of(pid);
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (pid_t child : children_of(all[i])) all.push_back(child);
  }
  return all;
}

std::vector<std::string> arguments_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline");
  std::vector<std::string> arguments;
  for (std::string one; std::getline(in, one, '\0');) arguments.push_back(one);
  return arguments;
}

char state_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  auto end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? '\0' : text[end + 2];
}

bool alive(pid_t pid) {
  char state = state_of(pid);
  return state != '\0' && state != 'Z' && state != 'X';
}

void kill_pids(const std::vector<pid_t>& pids, int signal) {
  for (pid_t pid : pids) ::kill(pid, signal);
}

void adopt_orphans() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void kill_orphans() {
  eventually(Millis(10000), [] {
    auto left = descendants_of(getpid());
    kill_pids(left, SIGKILL);
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return left.empty();
  });
}

}  // namespace pgsteady::testing
