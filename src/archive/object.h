// Compressed objects: found under any extension, read through their decompressor.
#pragma once

#include <string>

#include "archive/codec.h"
#include "store/object_store.h"

namespace pgsteady::archive {

// The object that holds `base` ("wal_005/0000...2"), under whatever extension. not_found when there
// is none.
Result<store::ObjectInfo> find_object(store::ObjectStore& store, const std::string& base);

// What `key` holds, decompressed by its extension, in pieces. corrupt: the checks of its frame, or
// the object ends too early.
// `raw`, if given, sees the bytes as they are stored.
Result<void> read_object(store::ObjectStore& store, const std::string& key, const Sink& sink,
                         const Sink& raw = {});

// The method that a key's extension tells; none when it is no extension of ours.
Method method_of_key(const std::string& key);

}  // namespace pgsteady::archive
