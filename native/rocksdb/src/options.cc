#include "options.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include <algorithm>

#include "crc32c.h"

namespace understudy {

namespace {

struct Named {
  const char* name;
  rocksdb::CompressionType type;
};

// What costs least for what it saves comes first.
constexpr Named compressions[] = {{"lz4", rocksdb::kLZ4Compression},
                                  {"snappy", rocksdb::kSnappyCompression},
                                  {"none", rocksdb::kNoCompression},
                                  {"zstd", rocksdb::kZSTD}};

bool isOffered(rocksdb::CompressionType type) {
  if (type == rocksdb::kNoCompression) return true;
  const auto offered = rocksdb::GetSupportedCompressions();
  return std::find(offered.begin(), offered.end(), type) != offered.end();
}

rocksdb::CompressionType compressionOf(const Settings& settings) {
  for (const auto& [name, type] : compressions) {
    if (settings.compression.empty() ? isOffered(type) : settings.compression == name) return type;
  }
  return rocksdb::kNoCompression;
}

}  // namespace

Failure checkSettings(const Settings& settings) {
  if (settings.compression.empty()) return ok();
  std::string names;
  for (const auto& [name, type] : compressions) {
    if (!isOffered(type)) continue;
    if (settings.compression == name) return ok();
    names += std::string(names.empty() ? "" : ", ") + name;
  }
  return {"CONFIG", "compression " + settings.compression + " is not in this build of RocksDB, which has " + names};
}

rocksdb::DBOptions databaseOptions(const Settings& settings, rocksdb::Env* env) {
  rocksdb::DBOptions options;
  options.env = env;
  options.create_if_missing = true;
  options.atomic_flush = true;
  options.db_write_buffer_size = settings.writeBuffersBytes;
  options.max_background_jobs = 3;
  // One call writes at a time.
  options.allow_concurrent_memtable_write = false;
  options.enable_write_thread_adaptive_yield = false;
  options.max_open_files = 1024;
  options.bytes_per_sync = 1 << 20;
  // A flush at the end is the checkpoint of whoever closes; without one the journal is replayed.
  options.avoid_flush_during_shutdown = true;
  // A node whose disk refused something is failed until somebody has looked at it.
  options.max_bgerror_resume_count = 0;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_log_file_size = 1 << 20;
  options.keep_log_file_num = 2;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  // Kept beside the names of the table files: whoever copies them need not read them first.
  options.file_checksum_gen_factory = fileChecksums();
  return options;
}

rocksdb::ColumnFamilyOptions familyOptions(const Settings& settings, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = settings.writeBufferBytes;
  options.max_write_buffer_number = 3;
  // Many families may be written to a little each.
  options.arena_block_size = 256 << 10;
  options.compression = compressionOf(settings);
  options.level_compaction_dynamic_level_bytes = true;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  if (settings.bloomBitsPerKey > 0) table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(settings.bloomBitsPerKey));
  table.block_size = 8 << 10;
  table.format_version = 5;
  // Otherwise memory would grow with the number of files.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::WriteOptions unlogged() {
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  // Neighbours in a block are often neighbours in the store.
  options.memtable_insert_hint_per_batch = true;
  return options;
}

}  // namespace understudy
