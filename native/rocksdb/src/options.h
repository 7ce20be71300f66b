#pragma once

#include <rocksdb/options.h>

#include <cstdint>
#include <memory>
#include <string>

#include "failure.h"

namespace understudy {

// Of one store; they come from JavaScript, which has them in one place.
struct Settings {
  uint64_t writeBufferBytes = 0;
  // Of all families together: reached, everything is flushed.
  uint64_t writeBuffersBytes = 0;
  // Shared by all families; indexes and filters are in it.
  uint64_t cacheBytes = 0;
  // A name of the list in options.cc; empty: the best of those that cost little.
  std::string compression;
  // 0: no filters.
  uint32_t bloomBitsPerKey = 0;
};

// Whether this build of RocksDB can do what is asked for.
Failure checkSettings(const Settings& settings);

// The journal is the log: RocksDB's own is off with every write, and all families are flushed together or not at all,
// so that what a table file holds is the fold of the journal up to the position that lies in the same flush.
// The environment outlives whatever is opened with it.
rocksdb::DBOptions databaseOptions(const Settings& settings, rocksdb::Env* env);

rocksdb::ColumnFamilyOptions familyOptions(const Settings& settings, const std::shared_ptr<rocksdb::Cache>& cache);

// Nothing is written to RocksDB's log.
rocksdb::WriteOptions unlogged();

}  // namespace understudy
