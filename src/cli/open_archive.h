// The archive that the environment names, for the verbs that use it.
#pragma once

#include <memory>
#include <string>

#include "archive/settings.h"

namespace pgsteady::cli {

struct OpenArchive {
  archive::Settings settings;
  std::unique_ptr<store::ObjectStore> store;
};

// `envdir` may be empty.
Result<OpenArchive> open_archive(const std::string& envdir);

}  // namespace pgsteady::cli
