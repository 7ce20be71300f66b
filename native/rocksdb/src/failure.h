#pragma once

#include <rocksdb/status.h>

#include <string>

namespace understudy {

// What went wrong, as the engine in JavaScript makes a coded error of it. Without a code nothing did.
struct Failure {
  std::string code;
  std::string message;

  explicit operator bool() const { return !code.empty(); }
};

inline Failure ok() { return {}; }

// RocksDB's own word for it. Its messages name the file wherever one is at fault.
Failure failureOf(const rocksdb::Status& status);

// The same while a store is opened: a file that is not there then was lost.
Failure failureOfOpen(const rocksdb::Status& status);

Failure closedFailure();

}  // namespace understudy
