#pragma once

#include <rocksdb/options.h>

#include <cstdint>
#include <memory>

namespace understudy {

// Sizes of one store; they come from JavaScript, which has them in one place.
struct Sizes {
  uint64_t writeBufferBytes = 0;
  // Of all families together: reached, everything is flushed.
  uint64_t writeBuffersBytes = 0;
  uint64_t cacheBytes = 0;
};

// The journal is the log: RocksDB's own is off with every write, and all families are flushed together or not at all,
// so that what a table file holds is the fold of the journal up to the position that lies in the same flush.
rocksdb::DBOptions databaseOptions(const Sizes& sizes, const std::shared_ptr<rocksdb::Cache>& cache);

rocksdb::ColumnFamilyOptions familyOptions(const Sizes& sizes, const std::shared_ptr<rocksdb::Cache>& cache);

// Nothing is written to RocksDB's log.
rocksdb::WriteOptions unlogged();

}  // namespace understudy
