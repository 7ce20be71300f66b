#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "entries.h"
#include "failure.h"
#include "file_system.h"
#include "options.h"

namespace understudy {

using FamilyId = uint32_t;
// Must be gone before its database is closed: what holds one is emptied by `Store::close`.
using FamilyPtr = std::shared_ptr<rocksdb::ColumnFamilyHandle>;
using Families = std::map<FamilyId, FamilyPtr>;
// Never used again within a process.
using Handle = uint64_t;

// Keys of the bookkeeping, in the column family "default"; the families of the shard are column families named by
// their ids. The engine in JavaScript keeps more keys there, of which nothing is known here.
struct Bookkeeping {
  std::string familyPrefix;
  std::string idNext;
};

// A change of the bookkeeping; without a value the key is deleted.
struct MetaChange {
  std::string key;
  std::optional<std::string> value;
};

struct TableChange {
  bool created;
  FamilyId id;
  std::string name;
};

struct KeyChange {
  FamilyId family;
  std::string key;
  std::optional<std::string> value;
};

struct NamedFamily {
  FamilyId id;
  std::string name;
};

struct Packed {
  std::string bytes;
  uint32_t count = 0;
  bool ended = false;
  std::optional<std::string> nextKey;
};

struct Range {
  std::optional<std::string> lower;
  std::optional<std::string> upper;
  bool reverse = false;
  bool keys = true;
  bool values = true;
};

// A consistent view, with the families of its moment: those dropped later can still be read in it.
class View {
 public:
  View(rocksdb::DB* db, Families families) : db_(db), families_(std::move(families)), snapshot_(db->GetSnapshot()) {}
  ~View() { db_->ReleaseSnapshot(snapshot_); }
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  const rocksdb::Snapshot* snapshot() const { return snapshot_; }
  const Families& families() const { return families_; }

 private:
  rocksdb::DB* db_;
  Families families_;
  const rocksdb::Snapshot* snapshot_;
};

struct Cursor;

struct Opened {
  std::vector<std::pair<std::string, std::string>> meta;
  // Column families that are not named by a number.
  bool foreign = false;
};

enum class Cached { found, absent, elsewhere };

struct TableFile;

// What a bootstrap has brought and RocksDB does not have yet; one call at a time.
struct Ingestion {
  Ingestion();
  ~Ingestion();
  void forget();

  std::mutex mutex;
  // Being written; lost in a crash.
  std::unique_ptr<TableFile> file;
  // Of the chunks in it.
  std::vector<MetaChange> meta;
  uint64_t files = 0;
  uint64_t unflushedBytes = 0;
  // What every later call is answered with.
  Failure failed;
};

// One RocksDB. Calls come from JavaScript's thread and from workers; each is inside for as long as it runs, and
// closing waits for those that are. A call after that fails with CLOSED.
class Store {
 public:
  Store(Limits limits, Settings settings, Bookkeeping keys)
      : limits_(limits), settings_(std::move(settings)), keys_(std::move(keys)) {}
  ~Store() { close(); }
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const Limits& limits() const { return limits_; }

  Failure open(const std::string& directory, Opened& opened);
  // The families that the bookkeeping names are in use; every other column family is dropped.
  Failure adopt(const std::vector<FamilyId>& ids, uint64_t idNext);
  // Waits for calls that are inside. Nothing is flushed. Idempotent.
  void close();

  // Blocks in order and `meta` with them, in one batch.
  Failure apply(const std::vector<std::string>& blocks, const std::vector<MetaChange>& meta,
                std::vector<TableChange>& changes);
  Failure write(const std::vector<KeyChange>& keys, const std::vector<MetaChange>& meta);
  // Everything written so far into synced table files, in all families or in none.
  Failure flush();
  // Flushes, then links all files into a directory, which must not exist.
  Failure checkpoint(const std::string& directory);
  // A chunk in one family, created if it is missing, and `meta` with it. A crash loses both, or `meta` alone; a flush
  // makes both durable.
  Failure ingest(const NamedFamily& family, rocksdb::Slice chunk, const std::vector<MetaChange>& meta);
  // The families are these from now on; durable when it returns.
  Failure finishIngest(const std::vector<NamedFamily>& families, uint64_t idNext, const std::vector<MetaChange>& meta);

  // Without waiting for the disk, and without waiting for a close.
  Failure getCached(FamilyId family, rocksdb::Slice key, Handle view, Cached& found, rocksdb::PinnableSlice& value);
  Failure getMany(FamilyId family, const std::vector<std::string>& keys, Handle view,
                  std::vector<std::optional<std::string>>& values);
  Failure getMeta(const std::string& key, std::optional<std::string>& value);
  Failure readChunk(FamilyId family, Handle view, const std::string& start, size_t bytesMax, Packed& packed);
  Failure sizeEstimate(uint64_t& bytes);

  // 0 stands for the present content wherever a view is asked for.
  Failure createView(Handle& view, std::vector<std::pair<std::string, std::string>>& meta);
  void releaseView(Handle view);
  Failure createCursor(FamilyId family, Handle view, Range range, Handle& cursor);
  // Entries from where the cursor stands, or from `seek`.
  Failure advance(Handle cursor, const std::optional<std::string>& seek, uint32_t count, size_t bytesMax,
                  Packed& packed);
  void releaseCursor(Handle cursor);

 private:
  class Inside;

  // What one batch does to the table of families; taken over once it is written.
  struct Changing {
    Families live;
    uint64_t idNext = 0;
    std::vector<FamilyPtr> dropped;
  };

  Changing changing() const;
  void takeOver(Changing changing);
  // Under the lock of the table.
  Families namedByBatches() const;
  Failure familyOf(FamilyId family, FamilyPtr& found) const;
  Failure viewOf(Handle view, std::shared_ptr<View>& found) const;
  Failure familyIn(FamilyId family, Handle view, FamilyPtr& found, std::shared_ptr<View>& in) const;
  Failure createFamily(FamilyId id, FamilyPtr& created);
  Failure commit(rocksdb::WriteBatch& batch, const std::vector<MetaChange>& meta);
  void putFamily(rocksdb::WriteBatch& batch, const NamedFamily& family) const;
  static std::string idNextValue(uint64_t idNext);
  void putIdNext(rocksdb::WriteBatch& batch, uint64_t idNext) const;
  void deleteFamily(rocksdb::WriteBatch& batch, FamilyId id) const;
  std::string familyKey(FamilyId id) const;
  Failure readMeta(const rocksdb::Snapshot* snapshot, std::vector<std::pair<std::string, std::string>>& meta) const;
  Failure flushInside();
  Failure ingestChecked(const NamedFamily& family, rocksdb::Slice chunk, bool ascending, const std::string& first,
                        const std::string& last, const std::vector<MetaChange>& meta);
  Failure openFile(const FamilyPtr& family);
  Failure sealFile();
  Failure sealIngestion();
  std::optional<std::string> unsealedMeta(const std::string& key);

  const Limits limits_;
  const Settings settings_;
  const Bookkeeping keys_;
  std::string directory_;
  std::shared_ptr<rocksdb::Cache> cache_;
  // Before everything that is opened with it, and so destroyed after.
  std::unique_ptr<rocksdb::Env> files_ = fileSystemOfStores();

  // Shared: a call is inside. Exclusive: it opens or closes.
  mutable std::shared_mutex life_;
  rocksdb::DB* db_ = nullptr;
  // An exception came out of a call, or of one that writes.
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> writeInterrupted_{false};
  FamilyPtr meta_;

  // Guards what follows.
  mutable std::mutex table_;
  Families live_;
  uint64_t idNext_ = 0;
  // Created for a batch that was not written then; empty.
  Families spare_;
  // Dropped by a batch. A crash before the next flush brings them back, so only then they go from the disk.
  std::vector<FamilyPtr> doomed_;
  std::unordered_map<Handle, std::shared_ptr<View>> views_;
  std::unordered_map<Handle, std::shared_ptr<Cursor>> cursors_;
  Handle handleNext_ = 1;

  Ingestion ingestion_;
};

// A call inside of the store, for as long as it lives. It also sees how the call ends: RocksDB is not made for
// exceptions (memory that ran out), and one that passes through it leaves references, or the queue of writers, as they
// were.
class Store::Inside {
 public:
  // `now` does not wait for a close.
  enum Kind { read, now, write };

  Inside(Store& store, Kind kind)
      : store_(store), kind_(kind), exceptions_(std::uncaught_exceptions()), lock_(store.life_, std::defer_lock) {
    if (kind != now) {
      lock_.lock();
    } else if (!lock_.try_lock()) {
      return;
    }
    stuck_ = kind == write && store.writeInterrupted_;
    open_ = store.db_ != nullptr && !stuck_;
  }
  ~Inside() {
    if (std::uncaught_exceptions() <= exceptions_) return;
    store_.interrupted_ = true;
    if (kind_ == write) store_.writeInterrupted_ = true;
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

  explicit operator bool() const { return open_; }
  // Why it is not open.
  Failure failure() const {
    return stuck_ ? Failure{"MEMORY", "memory ran out during an earlier write; restart the process"} : closedFailure();
  }

 private:
  Store& store_;
  const Kind kind_;
  const int exceptions_;
  std::shared_lock<std::shared_mutex> lock_;
  bool stuck_ = false;
  bool open_ = false;
};

struct Cursor {
  std::mutex mutex;
  std::shared_ptr<View> view;
  FamilyPtr family;
  Range range;
  rocksdb::Slice lower;
  rocksdb::Slice upper;
  std::unique_ptr<rocksdb::Iterator> iterator;
  // The last seek went out of the range.
  bool outside = false;
};

}  // namespace understudy
