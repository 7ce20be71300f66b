#include "store.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "leftovers.h"

namespace understudy {

namespace {

using rocksdb::Slice;

std::optional<FamilyId> idOf(const std::string& name) {
  FamilyId id = 0;
  const char* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data(), end, id);
  if (error != std::errc() || at != end || name != std::to_string(id)) return std::nullopt;
  return id;
}

}  // namespace

Failure Store::open(const std::string& directory, Opened& opened) {
  std::unique_lock<std::shared_mutex> lock(life_);
  if (db_ != nullptr || interrupted_) return {"IO", "the store was opened before"};
  if (Failure failure = checkSettings(settings_)) return failure;
  directory_ = directory;
  cache_ = rocksdb::NewLRUCache(settings_.cacheBytes);
  const auto options = databaseOptions(settings_, files_.get());
  const auto family = familyOptions(settings_, cache_);
  std::vector<std::string> names;
  std::error_code none;
  if (std::filesystem::exists(std::filesystem::path(directory) / "CURRENT", none)) {
    const auto listed = rocksdb::DB::ListColumnFamilies(options, directory, &names);
    if (!listed.ok()) return failureOfOpen(listed);
  } else {
    names = {rocksdb::kDefaultColumnFamilyName};
  }
  for (const auto& name : names) {
    if (name != rocksdb::kDefaultColumnFamilyName && !idOf(name)) opened.foreign = true;
  }
  if (opened.foreign) return ok();
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const auto& name : names) descriptors.emplace_back(name, family);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const auto status = rocksdb::DB::Open(options, directory, descriptors, &handles, &db_);
  if (!status.ok()) {
    db_ = nullptr;
    return failureOfOpen(status);
  }
  for (auto* handle : handles) {
    FamilyPtr family(handle);
    const auto id = idOf(handle->GetName());
    if (id) {
      live_.emplace(*id, std::move(family));
    } else {
      meta_ = std::move(family);
    }
  }
  // Only now the directory is surely nobody else's.
  if (Failure failure = removeLeftovers(directory)) return failure;
  return readMeta(nullptr, opened.meta);
}

Failure Store::adopt(const std::vector<FamilyId>& ids, uint64_t idNext) {
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  Families wanted;
  std::vector<FamilyPtr> others;
  {
    std::lock_guard<std::mutex> guard(table_);
    for (const FamilyId id : ids) {
      const auto found = live_.find(id);
      if (found == live_.end()) {
        return {"CORRUPTION", directory_ + ": column family " + std::to_string(id) + " is missing"};
      }
      wanted.insert(*found);
    }
    for (const auto& [id, handle] : live_) {
      if (wanted.count(id) == 0) others.push_back(handle);
    }
    live_ = wanted;
    idNext_ = idNext;
  }
  // Dropped for good, or created for what was never flushed.
  for (const auto& handle : others) {
    const auto status = db_->DropColumnFamily(handle.get());
    if (!status.ok()) return failureOf(status);
  }
  return ok();
}

void Store::close() {
  std::unique_lock<std::shared_mutex> lock(life_);
  if (db_ == nullptr) return;
  rocksdb::CancelAllBackgroundWork(db_, true);
  ingestion_.forget();
  {
    std::lock_guard<std::mutex> guard(table_);
    cursors_.clear();
    views_.clear();
    live_.clear();
    spare_.clear();
    doomed_.clear();
    meta_.reset();
  }
  // An exception has left references behind, and RocksDB ends the process when it is destroyed with such.
  if (interrupted_) {
    static_cast<void>(files_.release());
  } else {
    delete db_;
  }
  db_ = nullptr;
}

Store::Changing Store::changing() const {
  std::lock_guard<std::mutex> guard(table_);
  return {live_, idNext_, {}};
}

void Store::takeOver(Changing changing) {
  std::lock_guard<std::mutex> guard(table_);
  for (const auto& [id, handle] : changing.live) spare_.erase(id);
  for (const auto& handle : changing.dropped) {
    if (const auto id = idOf(handle->GetName())) spare_.erase(*id);
    doomed_.push_back(handle);
  }
  live_ = std::move(changing.live);
  idNext_ = changing.idNext;
}

Failure Store::createFamily(FamilyId id, FamilyPtr& created) {
  {
    std::lock_guard<std::mutex> guard(table_);
    const auto found = spare_.find(id);
    if (found != spare_.end()) {
      created = found->second;
      return ok();
    }
  }
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  const auto status = db_->CreateColumnFamily(familyOptions(settings_, cache_), std::to_string(id), &handle);
  if (!status.ok()) return failureOf(status);
  created = FamilyPtr(handle);
  std::lock_guard<std::mutex> guard(table_);
  spare_.emplace(id, created);
  return ok();
}

// A family is listed here before a batch names it, and until after the batch that drops it: none is missing.
Families Store::namedByBatches() const {
  Families families = spare_;
  for (const auto& family : live_) families.insert(family);
  return families;
}

std::string Store::familyKey(FamilyId id) const {
  std::string key = keys_.familyPrefix;
  for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(id >> shift & 0xff));
  return key;
}

void Store::putFamily(rocksdb::WriteBatch& batch, const NamedFamily& family) const {
  batch.Put(meta_.get(), familyKey(family.id), family.name);
}

void Store::deleteFamily(rocksdb::WriteBatch& batch, FamilyId id) const { batch.Delete(meta_.get(), familyKey(id)); }

std::string Store::idNextValue(uint64_t idNext) {
  char bytes[8];
  writeU32(bytes, static_cast<uint32_t>(idNext));
  writeU32(bytes + 4, static_cast<uint32_t>(idNext >> 32));
  return std::string(bytes, sizeof bytes);
}

void Store::putIdNext(rocksdb::WriteBatch& batch, uint64_t idNext) const {
  batch.Put(meta_.get(), keys_.idNext, idNextValue(idNext));
}

Failure Store::commit(rocksdb::WriteBatch& batch, const std::vector<MetaChange>& meta) {
  for (const auto& change : meta) {
    const auto status = change.value ? batch.Put(meta_.get(), change.key, *change.value)
                                     : batch.Delete(meta_.get(), change.key);
    if (!status.ok()) return failureOf(status);
  }
  return failureOf(db_->Write(unlogged(), &batch));
}

Failure Store::apply(const std::vector<std::string>& blocks, const std::vector<MetaChange>& meta,
                     std::vector<TableChange>& changes) {
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  // All of it is checked before anything changes.
  size_t bytes = 0;
  for (const auto& block : blocks) {
    Failure failure = visitBlock(limits_, block, [](const Operation& operation) -> Failure {
      if (operation.kind == Kind::dropFamily && operation.family == 0) {
        return {"INVARIANT", "the default family is never dropped"};
      }
      return ok();
    });
    if (failure) return failure;
    bytes += block.size();
  }
  rocksdb::WriteBatch batch(bytes + bytes / 8);
  Changing table = changing();
  // Blocks mostly speak of one family many times in a row.
  FamilyId lastId = 0;
  rocksdb::ColumnFamilyHandle* last = nullptr;
  const auto visit = [&](const Operation& operation) -> Failure {
    const FamilyId id = operation.family;
    if (operation.kind == Kind::createFamily) {
      if (id < table.idNext) return ok();
      FamilyPtr created;
      if (Failure failure = createFamily(id, created)) return failure;
      table.live[id] = created;
      table.idNext = static_cast<uint64_t>(id) + 1;
      putFamily(batch, {id, operation.key.ToString()});
      putIdNext(batch, table.idNext);
      changes.push_back({true, id, operation.key.ToString()});
      last = nullptr;
      return ok();
    }
    if (operation.kind == Kind::dropFamily) {
      const auto found = table.live.find(id);
      if (found == table.live.end()) return ok();
      table.dropped.push_back(found->second);
      table.live.erase(found);
      deleteFamily(batch, id);
      changes.push_back({false, id, {}});
      last = nullptr;
      return ok();
    }
    if (last == nullptr || lastId != id) {
      const auto found = table.live.find(id);
      if (found == table.live.end()) return ok();
      lastId = id;
      last = found->second.get();
    }
    switch (operation.kind) {
      case Kind::put:
        return failureOf(batch.Put(last, operation.key, operation.value));
      case Kind::del:
        return failureOf(batch.Delete(last, operation.key));
      default:
        // An empty range is nothing to RocksDB but an error later on.
        if (operation.key.compare(operation.value) >= 0) return ok();
        return failureOf(batch.DeleteRange(last, operation.key, operation.value));
    }
  };
  for (const auto& block : blocks) {
    if (Failure failure = visitBlock(limits_, block, visit)) return failure;
  }
  if (Failure failure = commit(batch, meta)) return failure;
  if (!changes.empty()) takeOver(std::move(table));
  return ok();
}

Failure Store::write(const std::vector<KeyChange>& keys, const std::vector<MetaChange>& meta) {
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  rocksdb::WriteBatch batch;
  const Changing table = changing();
  for (const auto& change : keys) {
    const auto found = table.live.find(change.family);
    if (found == table.live.end()) continue;
    auto* family = found->second.get();
    const auto status = change.value ? batch.Put(family, change.key, *change.value) : batch.Delete(family, change.key);
    if (!status.ok()) return failureOf(status);
  }
  return commit(batch, meta);
}

Failure Store::flush() {
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  if (Failure failure = sealIngestion()) return failure;
  return flushInside();
}

Failure Store::flushInside() {
  std::vector<FamilyPtr> doomed;
  std::vector<FamilyPtr> families{meta_};
  {
    std::lock_guard<std::mutex> guard(table_);
    doomed.swap(doomed_);
    // Also those of a batch that is being written: the flush waits for it, and takes its position along.
    for (const auto& [id, handle] : namedByBatches()) families.push_back(handle);
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  for (const auto& handle : families) handles.push_back(handle.get());
  rocksdb::FlushOptions options;
  options.wait = true;
  // A checkpoint does not wait until compaction has caught up.
  options.allow_write_stall = true;
  auto status = db_->Flush(options, handles);
  while (status.ok() && !doomed.empty()) {
    status = db_->DropColumnFamily(doomed.back().get());
    if (status.ok()) doomed.pop_back();
  }
  if (!doomed.empty()) {
    std::lock_guard<std::mutex> guard(table_);
    doomed_.insert(doomed_.end(), doomed.begin(), doomed.end());
  }
  return failureOf(status);
}

Failure Store::sizeEstimate(uint64_t& bytes) {
  Inside inside(*this, Inside::read);
  if (!inside) return closedFailure();
  bytes = 0;
  for (const auto& [id, handle] : changing().live) {
    for (const auto& property : {rocksdb::DB::Properties::kLiveSstFilesSize,
                                 rocksdb::DB::Properties::kCurSizeAllMemTables}) {
      uint64_t value = 0;
      if (db_->GetIntProperty(handle.get(), property, &value)) bytes += value;
    }
  }
  return ok();
}

}  // namespace understudy
