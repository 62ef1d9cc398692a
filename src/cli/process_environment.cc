#include "cli/process_environment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace pgsteady::cli {

std::vector<std::string> process_environment() {
  std::vector<std::string> environment;
  for (char** entry = environ; entry && *entry; ++entry) environment.emplace_back(*entry);
  return environment;
}

int complain(const Error& error) {
  fmt::print(stderr, "pgsteady: {}\n", error.text());
  return 1;
}

}  // namespace pgsteady::cli
