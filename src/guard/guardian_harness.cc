#include "guard/guardian_harness.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "base/clock.h"

namespace pgsteady::guard {
namespace {

namespace fs = std::filesystem;

struct Stat {
  char state = 0;
  pid_t parent = 0;
  std::string started;
  std::string name;
};

std::optional<Stat> stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  std::istringstream rest(text.substr(text.rfind(')') + 1));
  Stat stat;
  stat.name = text.substr(text.find('(') + 1, text.rfind(')') - text.find('(') - 1);
  rest >> stat.state >> stat.parent;
  std::string field;
  for (int i = 5; i <= 22; ++i) rest >> field;  // the 22nd is the start time
  stat.started = field;
  return stat;
}

std::string command_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  for (char& c : text) c = c == 0 ? ' ' : c;
  return text;
}

pid_t receive_descriptor(int control, int& fd) {
  pid_t pid = 0;
  iovec data{&pid, sizeof pid};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fd)> space{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = space.data();
  message.msg_controllen = space.size();
  if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) != sizeof pid) return 0;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr) return 0;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return pid;
}

int listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 8) != 0) {
    throw std::runtime_error("cannot listen at " + path);
  }
  fs::permissions(path, fs::perms::all);
  return fd;
}

}  // namespace

bool eventually(const std::function<bool()>& condition, milliseconds limit) {
  for (auto end = boottime_now() + limit; boottime_now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return condition();
}

std::vector<Process> descendants(pid_t of) {
  std::vector<Process> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    auto stat = stat_of(pid);
    if (!stat || stat->parent != of || stat->state == 'Z') continue;
    found.push_back({pid, stat->started, command_of(pid), stat->name});
    for (auto& below : descendants(pid)) found.push_back(std::move(below));
  }
  return found;
}

bool exists(const Process& process) {
  auto stat = stat_of(process.pid);
  return stat && stat->started == process.started && stat->state != 'Z' && stat->state != 'X';
}

bool none_exists(const std::vector<Process>& processes) {
  for (const auto& process : processes) {
    if (exists(process)) return false;
  }
  return true;
}

lease::Instant now() {
  return lease::Instant(boottime_now());
}

TestDirectory::TestDirectory() {
  std::string name = "/tmp/pgsteady-guard-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a directory in /tmp");
  path_ = name;
  if (geteuid() != 0) return;
  const passwd* user = getpwnam("postgres");
  if (user == nullptr || chown(name.c_str(), user->pw_uid, user->pw_gid) != 0) {
    throw std::runtime_error("tests run as root need a user named postgres");
  }
}

TestDirectory::~TestDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<std::string> as_server_user() {
  if (geteuid() != 0) return {};
  return {"/usr/bin/setpriv",
          "--reuid=postgres",
          "--regid=postgres",
          "--init-groups",
          "--pdeathsig",
          "KILL",
          "--"};
}

RunningGuardian::RunningGuardian(const GuardianSetup& setup) {
  // What a killed guardian leaves comes to this process to be reaped: to PostgreSQL a zombie
  // postmaster is one that still runs, and not every machine's init is quick about it.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  listener_ = listen_at(directory_ / "control");
  // The build may stand where the server's user can't go.
  fs::copy_file(PGSTEADY_GUARD, directory_ / "pgsteady-guard");
  fs::copy_file(FAKE_AGENT, directory_ / "agent");
  start(setup);
  heart_ = std::thread([this] { beat(); });
}

RunningGuardian::~RunningGuardian() {
  ending_ = true;
  heart_.join();
  auto below = status_ ? std::vector<Process>{} : descendants(pid_);
  if (!exit_status(milliseconds(0))) kill(pid_, SIGKILL);
  exit_status();
  for (const auto& process : below) {
    if (exists(process)) kill(process.pid, SIGKILL);
  }
  // Until no child is left: the next server may want the old one's shared memory.
  eventually([] {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    return errno == ECHILD;
  });
  for (int fd : {listener_, control_}) {
    if (fd >= 0) close(fd);
  }
  if (testing::Test::HasFailure()) std::fprintf(stderr, "the guardian's log:\n%s", log().c_str());
}

void RunningGuardian::start(const GuardianSetup& setup) {
  auto words = as_server_user();
  words.push_back(directory_ / "pgsteady-guard");
  words.insert(words.end(), setup.options.begin(), setup.options.end());
  words.insert(words.end(), {"--", directory_ / "agent"});
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  setenv("PGSTEADY_TEST_CONTROL", (directory_ / "control").c_str(), 1);
  int error = setup.standard_error;
  if (error < 0) error = open((directory_ / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  pid_ = fork();
  if (pid_ != 0) return;
  dup2(error, STDERR_FILENO);
  if (setup.memory_lock_limit) {
    rlimit limit{*setup.memory_lock_limit, *setup.memory_lock_limit};
    setrlimit(RLIMIT_MEMLOCK, &limit);
  }
  execv(argv[0], argv.data());
  _exit(126);
}

std::string RunningGuardian::log() const {
  std::ifstream file(directory_ / "log");
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

Process RunningGuardian::log_writer() const {
  for (const auto& process : descendants(pid_)) {
    if (process.name == "pgsteady-log") return process;
  }
  throw std::runtime_error("nobody writes the guardian's log for it");
}

void RunningGuardian::beat() {
  while (!ending_) {
    {
      std::lock_guard lock(mutex_);
      if (beating_) (void)beating_->alive();
    }
    std::this_thread::sleep_for(milliseconds(100));
  }
}

Message RunningGuardian::next_agent() {
  agent_falls_silent();
  pollfd ready{listener_, POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(milliseconds(kPatience).count())) != 1) {
    throw std::runtime_error("no agent was started");
  }
  if (control_ >= 0) close(control_);
  control_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  int fd = -1;
  agent_pid_ = receive_descriptor(control_, fd);
  if (agent_pid_ == 0) throw std::runtime_error("the agent handed nothing over");
  setenv(kFdVariable, std::to_string(fd).c_str(), 1);
  auto client = Client::from_environment();
  if (!client) throw std::runtime_error(client.error().text());
  client_ = std::move(*client);
  {
    std::lock_guard lock(mutex_);
    beating_ = client_;
  }
  return expect(Kind::status);
}

void RunningGuardian::agent_falls_silent() {
  std::lock_guard lock(mutex_);
  beating_.reset();
}

void RunningGuardian::agent_exits(unsigned char code) {
  if (write(control_, &code, 1) != 1) throw std::runtime_error("the agent is gone already");
}

Message RunningGuardian::expect(Kind kind) {
  for (auto end = boottime_now() + kPatience; boottime_now() < end;) {
    auto message = client_->receive();
    if (!message) throw std::runtime_error(message.error().text());
    if (*message && (*message)->kind == kind) return **message;
    if (*message) continue;
    pollfd ready{client_->fd(), POLLIN, 0};
    poll(&ready, 1, 100);
  }
  throw std::runtime_error("no message of kind " + std::to_string(static_cast<unsigned>(kind)));
}

Message RunningGuardian::arm(lease::Epoch epoch, milliseconds ahead) {
  auto sent = client_->arm(epoch, now() + ahead, ahead + seconds(1));
  if (!sent) throw std::runtime_error(sent.error().text());
  return expect(Kind::armed);
}

void RunningGuardian::signal(int signal) {
  kill(pid_, signal);
}

std::optional<int> RunningGuardian::exit_status(milliseconds limit) {
  eventually(
      [this] {
        int status = 0;
        if (!status_ && waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
        return status_.has_value();
      },
      limit);
  return status_;
}

}  // namespace pgsteady::guard
