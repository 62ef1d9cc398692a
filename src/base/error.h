// Errors as values. A function that can fail returns Result<T>; exceptions stop at module edges.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace pgsteady {

// An error's kind is named by what the caller must do about it.
enum class ErrorKind {
  retry,      // passing fault (network, timeout): try again after a pause
  not_found,  // the thing asked for is not there
  refused,    // the request is wrong or not allowed: correct it
  corrupt,    // data failed a check: don't use it
  fatal,      // nothing sensible can follow: end the program
};

struct Error {
  ErrorKind kind = ErrorKind::retry;
  std::string message;  // lower case, no full stop: what was wrong, where, what was expected
  std::string hint;     // the operator's next step, may be empty

  // "message" or "message\nhint: ...".
  std::string text() const { return hint.empty() ? message : message + "\nhint: " + hint; }
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorKind kind, std::string message, std::string hint = {}) {
  return tl::unexpected<Error>(Error{kind, std::move(message), std::move(hint)});
}

}  // namespace pgsteady
