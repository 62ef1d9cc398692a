// environ as the list that config:: takes, and messages for people.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace pgsteady::cli {

// "pgsteady: message", and the hint, on stderr. Returns 1, the exit code of a failure.
int complain(const Error& error);

}  // namespace pgsteady::cli
