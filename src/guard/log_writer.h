// A process that writes the guardian's log for it, where stderr may block: a file on a disk that
// hangs, a pipe that belongs to another user. The guardian hands it lines through a pipe.
//
// It has no part in fencing. It ends when the guardian's end of the pipe is closed, by a death too,
// and by no signal that is meant for the guardian. It keeps no other descriptor open.
#pragma once

#include <sys/types.h>

namespace pgsteady::guard {

struct LogWriter {
  pid_t pid = 0;  // 0: there is none
  int pipe = -1;  // never blocks
};

// Only fork() happens here. errno tells why there can be none.
LogWriter start_log_writer();

}  // namespace pgsteady::guard
