// An archive in a directory, on this machine or mounted from another: one file per object.
//
// An object is written beside the archive's folders (ROOT/.pgsteady-tmp), fsynced, linked or
// renamed to its name, and the folder fsynced: a crash at any moment leaves the whole object or
// none. What a crash leaves in .pgsteady-tmp is removed after a day.
//
// The root itself is never created: an empty mount point is no archive.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "store/object_store.h"

namespace pgsteady::store {

// The steps of storing an object, in their order.
enum class Step { make_folder, create, write, sync, publish, sync_folder };
// Called before each step; the errno that it gives is what the step fails with. For tests.
using Fault = std::function<int(Step)>;

// refused when there is no such directory, with a hint.
Result<std::unique_ptr<ObjectStore>> open_directory(std::string root, Fault fault = {});

}  // namespace pgsteady::store
