#include "config/places.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "base/types.h"

namespace pgsteady::config {
namespace {

namespace fs = std::filesystem;
constexpr const char* kDebianRoot = "/usr/lib/postgresql";

std::string major_of(const std::string& data_dir) {
  std::ifstream file(data_dir + "/PG_VERSION");
  std::string major;
  file >> major;
  return parse_decimal(major) ? major : std::string();
}

std::string newest_installed() {
  std::error_code error;
  std::uint64_t best = 0;
  for (const auto& entry : fs::directory_iterator(kDebianRoot, error)) {
    auto version = parse_decimal(entry.path().filename().string());
    if (version && *version > best && has_postgres(entry.path() / "bin")) best = *version;
  }
  return best ? fmt::format("{}/{}/bin", kDebianRoot, best) : std::string();
}

}  // namespace

bool has_postgres(const std::string& bin_dir) {
  return ::access((bin_dir + "/postgres").c_str(), X_OK) == 0;
}

Result<std::string> find_bin_dir(const std::string& data_dir, const std::string& search_path) {
  if (auto major = major_of(data_dir); !major.empty()) {
    auto matching = fmt::format("{}/{}/bin", kDebianRoot, major);
    if (has_postgres(matching)) return matching;
  }
  if (auto newest = newest_installed(); !newest.empty()) return newest;
  std::stringstream path(search_path);
  for (std::string directory; std::getline(path, directory, ':');) {
    if (directory.starts_with('/') && has_postgres(directory)) return directory;
  }
  return fail(ErrorKind::not_found, "no program 'postgres' in /usr/lib/postgresql or PATH",
              "install PostgreSQL or set postgresql.bin_dir");
}

bool fits_socket(const std::string& directory, std::uint16_t port) {
  return fmt::format("{}/.s.PGSQL.{}", directory, port).size() < 108;
}

}  // namespace pgsteady::config
