// etcd's keys and transactions as plain data, so that the real etcd and a simulated one carry out
// the very same thing. Keys here are relative to the cluster's prefix ("leader", "members/pg1").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pgsteady {

struct KeyValue {
  std::string key;
  std::string value;
  std::int64_t create_revision = 0;
  std::int64_t mod_revision = 0;
  std::int64_t lease = 0;  // 0: none

  bool operator==(const KeyValue&) const = default;
};

struct Compare {
  enum class What { create_revision, mod_revision, none_newer };
  What what = What::create_revision;
  std::string key;            // for none_newer what all keys it looks at begin with; ends in '/'
  std::int64_t revision = 0;  // for the revisions; 0 means "does not exist"

  bool operator==(const Compare&) const = default;
  static Compare absent(std::string key) { return {What::create_revision, std::move(key), 0}; }
  static Compare unchanged(std::string key, std::int64_t mod_revision) {
    return {What::mod_revision, std::move(key), mod_revision};
  }
  // No key there was written after this revision of etcd.
  static Compare none_newer(std::string folder, std::int64_t revision) {
    return {What::none_newer, std::move(folder), revision};
  }
};

struct Operation {
  enum class What { put, remove };
  What what = What::put;
  std::string key;
  std::string value;
  std::int64_t lease = 0;

  bool operator==(const Operation&) const = default;
  static Operation put(std::string key, std::string value, std::int64_t lease = 0) {
    return {What::put, std::move(key), std::move(value), lease};
  }
  static Operation remove(std::string key) { return {What::remove, std::move(key), {}, 0}; }
};

// All compares hold → all operations happen, at one revision; else nothing happens.
struct Txn {
  std::vector<Compare> compares;
  std::vector<Operation> operations;

  bool operator==(const Txn&) const = default;
};

struct TxnResult {
  bool succeeded = false;     // the compares held
  std::int64_t revision = 0;  // etcd's revision; that of the operations when succeeded
};

}  // namespace pgsteady
