// The parts of load() that fill ServerSettings.
#pragma once

#include <string>

#include "cluster/server_settings.h"
#include "config/section.h"

namespace pgsteady::config {

// `postgresql:`; without bin_dir, state_dir and what hangs on them (see load.cc).
void read_postgresql(Section postgresql, ServerSettings& server);
// `bootstrap.initdb`, `bootstrap.users`, `bootstrap.pg_hba`.
void read_bootstrap(Section& bootstrap, ServerSettings& server);

}  // namespace pgsteady::config
