// Messages for people.
#pragma once

#include "base/error.h"

namespace pgsteady::cli {

// "pgsteady: message", and the hint, on stderr. Returns 1, the exit code of a failure.
int complain(const Error& error);

}  // namespace pgsteady::cli
