#include <rocksdb/iterator.h>

#include "store.h"

namespace understudy {

namespace {

using rocksdb::Slice;

rocksdb::ReadOptions readOptions(const View* view) {
  rocksdb::ReadOptions options;
  if (view != nullptr) options.snapshot = view->snapshot();
  // Files that nobody needs any more are deleted beside the reader.
  options.background_purge_on_iterator_cleanup = true;
  return options;
}

Failure unknownFamily(FamilyId family) { return {"FAMILY", "there is no column family " + std::to_string(family)}; }

}  // namespace

Failure Store::familyOf(FamilyId family, FamilyPtr& found) const {
  std::lock_guard<std::mutex> guard(table_);
  const auto at = live_.find(family);
  if (at == live_.end()) return unknownFamily(family);
  found = at->second;
  return ok();
}

Failure Store::viewOf(Handle view, std::shared_ptr<View>& found) const {
  std::lock_guard<std::mutex> guard(table_);
  const auto at = views_.find(view);
  if (at == views_.end()) return closedFailure();
  found = at->second;
  return ok();
}

Failure Store::familyIn(FamilyId family, Handle view, FamilyPtr& found, std::shared_ptr<View>& in) const {
  if (view == 0) return familyOf(family, found);
  if (Failure failure = viewOf(view, in)) return failure;
  const auto at = in->families().find(family);
  if (at == in->families().end()) return unknownFamily(family);
  found = at->second;
  return ok();
}

Failure Store::getCached(FamilyId family, Slice key, Handle view, Cached& found, rocksdb::PinnableSlice& value) {
  Inside inside(*this, Inside::now);
  if (!inside) return closedFailure();
  FamilyPtr handle;
  std::shared_ptr<View> in;
  if (Failure failure = familyIn(family, view, handle, in)) return failure;
  rocksdb::ReadOptions options = readOptions(in.get());
  options.read_tier = rocksdb::kBlockCacheTier;
  const auto status = db_->Get(options, handle.get(), key, &value);
  if (status.IsIncomplete()) {
    found = Cached::elsewhere;
  } else if (status.IsNotFound()) {
    found = Cached::absent;
  } else if (status.ok()) {
    found = Cached::found;
    // The bytes are the caller's before the store may be closed.
    if (value.IsPinned()) {
      std::string copy = value.ToString();
      value.Reset();
      *value.GetSelf() = std::move(copy);
      value.PinSelf();
    }
  } else {
    return failureOf(status);
  }
  return ok();
}

Failure Store::getMany(FamilyId family, const std::vector<std::string>& keys, Handle view,
                       std::vector<std::optional<std::string>>& values) {
  Inside inside(*this, Inside::read);
  if (!inside) return closedFailure();
  FamilyPtr handle;
  std::shared_ptr<View> in;
  if (Failure failure = familyIn(family, view, handle, in)) return failure;
  const std::vector<Slice> wanted(keys.begin(), keys.end());
  std::vector<rocksdb::PinnableSlice> found(keys.size());
  std::vector<rocksdb::Status> statuses(keys.size());
  db_->MultiGet(readOptions(in.get()), handle.get(), keys.size(), wanted.data(), found.data(), statuses.data());
  values.reserve(keys.size());
  for (size_t index = 0; index < keys.size(); index++) {
    if (statuses[index].IsNotFound()) {
      values.emplace_back(std::nullopt);
    } else if (statuses[index].ok()) {
      values.emplace_back(found[index].ToString());
    } else {
      return failureOf(statuses[index]);
    }
  }
  return ok();
}

Failure Store::getMeta(const std::string& key, std::optional<std::string>& value) {
  Inside inside(*this, Inside::read);
  if (!inside) return closedFailure();
  if ((value = unsealedMeta(key))) return ok();
  std::string found;
  const auto status = db_->Get(rocksdb::ReadOptions(), meta_.get(), key, &found);
  if (status.IsNotFound()) return ok();
  if (!status.ok()) return failureOf(status);
  value = std::move(found);
  return ok();
}

Failure Store::readMeta(const rocksdb::Snapshot* snapshot,
                        std::vector<std::pair<std::string, std::string>>& meta) const {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(options, meta_.get()));
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    meta.emplace_back(iterator->key().ToString(), iterator->value().ToString());
  }
  return failureOf(iterator->status());
}

Failure Store::createView(Handle& view, std::vector<std::pair<std::string, std::string>>& meta) {
  Inside inside(*this, Inside::now);
  if (!inside) return closedFailure();
  std::shared_ptr<View> created;
  {
    std::lock_guard<std::mutex> guard(table_);
    created = std::make_shared<View>(db_, namedByBatches());
  }
  if (Failure failure = readMeta(created->snapshot(), meta)) return failure;
  std::lock_guard<std::mutex> guard(table_);
  view = handleNext_++;
  views_.emplace(view, std::move(created));
  return ok();
}

void Store::releaseView(Handle view) {
  Inside inside(*this, Inside::now);
  if (!inside) return;
  std::shared_ptr<View> released;
  std::lock_guard<std::mutex> guard(table_);
  const auto found = views_.find(view);
  if (found == views_.end()) return;
  released = std::move(found->second);
  views_.erase(found);
}

Failure Store::createCursor(FamilyId family, Handle view, Range range, Handle& cursor) {
  Inside inside(*this, Inside::now);
  if (!inside) return closedFailure();
  auto created = std::make_shared<Cursor>();
  if (Failure failure = familyIn(family, view, created->family, created->view)) return failure;
  // It sees the content of this moment, though it is opened later, on a worker.
  if (created->view == nullptr) created->view = std::make_shared<View>(db_, Families());
  created->range = std::move(range);
  std::lock_guard<std::mutex> guard(table_);
  cursor = handleNext_++;
  cursors_.emplace(cursor, std::move(created));
  return ok();
}

void Store::releaseCursor(Handle cursor) {
  Inside inside(*this, Inside::now);
  if (!inside) return;
  std::shared_ptr<Cursor> released;
  std::lock_guard<std::mutex> guard(table_);
  const auto found = cursors_.find(cursor);
  if (found == cursors_.end()) return;
  released = std::move(found->second);
  cursors_.erase(found);
}

namespace {

// A target outside of the range leads nowhere, on whichever side it lies.
void moveTo(Cursor& cursor, const std::string& target) {
  const Range& range = cursor.range;
  cursor.outside = (range.lower && target < *range.lower) || (range.upper && target >= *range.upper);
  if (cursor.outside) return;
  if (range.reverse) {
    cursor.iterator->SeekForPrev(target);
  } else {
    cursor.iterator->Seek(target);
  }
}

void openCursor(rocksdb::DB* db, Cursor& cursor) {
  rocksdb::ReadOptions options = readOptions(cursor.view.get());
  if (cursor.range.lower) {
    cursor.lower = *cursor.range.lower;
    options.iterate_lower_bound = &cursor.lower;
  }
  if (cursor.range.upper) {
    cursor.upper = *cursor.range.upper;
    options.iterate_upper_bound = &cursor.upper;
  }
  cursor.iterator.reset(db->NewIterator(options, cursor.family.get()));
}

}  // namespace

Failure Store::advance(Handle handle, const std::optional<std::string>& seek, uint32_t count, size_t bytesMax,
                       Packed& packed) {
  Inside inside(*this, Inside::read);
  if (!inside) return closedFailure();
  std::shared_ptr<Cursor> cursor;
  {
    std::lock_guard<std::mutex> guard(table_);
    const auto found = cursors_.find(handle);
    if (found == cursors_.end()) return closedFailure();
    cursor = found->second;
  }
  std::lock_guard<std::mutex> guard(cursor->mutex);
  const Range& range = cursor->range;
  if (cursor->iterator == nullptr) {
    openCursor(db_, *cursor);
    if (!seek) {
      if (range.reverse) {
        cursor->iterator->SeekToLast();
      } else {
        cursor->iterator->SeekToFirst();
      }
    }
  }
  if (seek) moveTo(*cursor, *seek);
  if (cursor->outside) {
    packed.ended = true;
    return ok();
  }
  auto& iterator = *cursor->iterator;
  while (packed.count < count && iterator.Valid()) {
    const Slice key = range.keys ? iterator.key() : Slice();
    const Slice value = range.values ? iterator.value() : Slice();
    if (packed.count > 0 && packed.bytes.size() + chunkFrameBytes + key.size() + value.size() > bytesMax) break;
    appendChunkEntry(packed.bytes, key, value);
    packed.count++;
    if (range.reverse) {
      iterator.Prev();
    } else {
      iterator.Next();
    }
  }
  packed.ended = !iterator.Valid();
  return failureOf(iterator.status());
}

Failure Store::readChunk(FamilyId family, Handle view, const std::string& start, size_t bytesMax, Packed& packed) {
  Inside inside(*this, Inside::read);
  if (!inside) return closedFailure();
  FamilyPtr handle;
  std::shared_ptr<View> in;
  if (Failure failure = familyIn(family, view, handle, in)) return failure;
  rocksdb::ReadOptions options = readOptions(in.get());
  // What is read once, for another node, does not push out what is read here.
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(options, handle.get()));
  for (iterator->Seek(start); iterator->Valid(); iterator->Next()) {
    const Slice key = iterator->key();
    const Slice value = iterator->value();
    if (packed.count > 0 && packed.bytes.size() + chunkFrameBytes + key.size() + value.size() > bytesMax) {
      packed.nextKey = key.ToString();
      break;
    }
    if (packed.count == 0) packed.bytes.reserve(std::min<size_t>(bytesMax, 4 << 20));
    appendChunkEntry(packed.bytes, key, value);
    packed.count++;
  }
  return failureOf(iterator->status());
}

}  // namespace understudy
