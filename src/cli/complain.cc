#include "cli/complain.h"

#include <fmt/format.h>

#include <cstdio>

namespace pgsteady::cli {

int complain(const Error& error) {
  fmt::print(stderr, "pgsteady: {}\n", error.text());
  return 1;
}

}  // namespace pgsteady::cli
