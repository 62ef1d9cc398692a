// What a server that does not answer yet shows of itself: the titles of its processes.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace pgsteady::pg {

struct RecoveryTitles {
  // The WAL segment (without its timeline) that its startup process replays or looks for; empty
  // when unknown.
  std::string recovering;
  bool receiving = false;  // its walreceiver has received WAL
};

// Adds what one process's title tells ("postgres: NAME: startup recovering 0000...").
void add_title(RecoveryTitles& found, std::string_view title);

// Of the postmaster's children, from /proc. Empty where titles are not shown.
RecoveryTitles recovery_titles(pid_t postmaster);

}  // namespace pgsteady::pg
