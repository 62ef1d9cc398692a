// Where things lie on this machine: PostgreSQL's programs, our state, the socket.
#pragma once

#include <string>

#include "base/error.h"

namespace pgsteady::config {

// The directory with the program `postgres`: the version that `data_dir` was made by when there is
// one, else the newest in /usr/lib/postgresql/*/bin, else the one in `search_path` (as $PATH).
Result<std::string> find_bin_dir(const std::string& data_dir, const std::string& search_path);
bool has_postgres(const std::string& bin_dir);

// The longest socket directory that PostgreSQL accepts for this port (its path must fit 107 bytes).
bool fits_socket(const std::string& directory, std::uint16_t port);

}  // namespace pgsteady::config
