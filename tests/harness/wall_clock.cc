#include "harness/wall_clock.h"

#include <fstream>

namespace pgsteady::testing {
namespace fs = std::filesystem;
namespace {

std::string library() {
  for (const auto& entry : fs::directory_iterator("/usr/lib")) {
    auto path = entry.path() / "faketime/libfaketimeMT.so.1";
    std::error_code ignored;
    if (fs::exists(path, ignored)) return path;
  }
  return "";
}

}  // namespace

std::string WallClocks::missing() {
  return library().empty() ? "there is no libfaketime" : "";
}

// What the library shares among a program and its children is left by one that is killed.
WallClocks::~WallClocks() {
  std::error_code ignored;
  for (pid_t pid : started_) {
    fs::remove("/dev/shm/faketime_shm_" + std::to_string(pid), ignored);
    fs::remove("/dev/shm/sem.faketime_sem_" + std::to_string(pid), ignored);
  }
}

std::vector<std::string> WallClocks::environment(const std::string& node) {
  set(node, std::chrono::seconds(0));
  return {"LD_PRELOAD=" + library(), "FAKETIME_TIMESTAMP_FILE=" + file_of(node).string(),
          "FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"};
}

void WallClocks::set(const std::string& node, std::chrono::seconds ahead) {
  const auto fresh = dir_ / "clock.new";
  std::ofstream(fresh) << (ahead.count() < 0 ? "" : "+") << ahead.count() << "\n";
  fs::permissions(fresh, fs::perms(0644));
  fs::rename(fresh, file_of(node));
}

}  // namespace pgsteady::testing
