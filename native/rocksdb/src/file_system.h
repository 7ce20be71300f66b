#pragma once

#include <rocksdb/env.h>

#include <memory>

namespace understudy {

// The system's files, but a file that could not be written says so when it is synced or closed.
//
// RocksDB's writer of a file that saw a write fail is used once more on the way out (7.8: `WritableFileWriter`), which is an
// assertion where RocksDB was built with them, as Debian's library is: one EIO or a full disk would end the process. An fsync
// that fails is handled everywhere, and no file counts before it is synced: that is where the error is told.
//
// Outlives the stores that were opened with it.
std::unique_ptr<rocksdb::Env> fileSystemOfStores();

}  // namespace understudy
