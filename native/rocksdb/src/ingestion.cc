#include <rocksdb/sst_file_writer.h>

#include <filesystem>
#include <system_error>

#include "leftovers.h"
#include "store.h"

namespace understudy {

namespace {

using rocksdb::Slice;

// A table file of its own costs two syncs; smaller chunks are written like any batch.
constexpr size_t fileBytesMin = 256 << 10;
// How much is fetched again after a crash at most, besides the chunk under way.
constexpr uint64_t flushBytes = 64 << 20;

}  // namespace

std::string ingestFolder(const std::string& directory) {
  return (std::filesystem::path(directory) / "ingest").string();
}

Failure removeLeftovers(const std::string& directory) {
  std::error_code error;
  std::filesystem::remove_all(ingestFolder(directory), error);
  if (error) return {"IO", "removing " + ingestFolder(directory) + ": " + error.message()};
  return ok();
}

Failure Store::ingest(const NamedFamily& family, Slice chunk, const std::vector<MetaChange>& meta) {
  Inside inside(*this);
  if (!inside) return closedFailure();
  bool ascending = true;
  bool first = true;
  Slice before;
  Failure failure = visitChunk(limits_, chunk, [&](Slice key, Slice) -> Failure {
    if (!first && before.compare(key) >= 0) ascending = false;
    first = false;
    before = key;
    return ok();
  });
  if (failure) return failure;

  rocksdb::WriteBatch batch;
  Changing table = changing();
  if (table.live.count(family.id) == 0) {
    FamilyPtr created;
    if ((failure = createFamily(family.id, created))) return failure;
    table.live[family.id] = created;
    table.idNext = std::max<uint64_t>(table.idNext, static_cast<uint64_t>(family.id) + 1);
    putFamily(batch, family);
    putIdNext(batch, table.idNext);
  }
  const FamilyPtr target = table.live[family.id];
  if (ascending && chunk.size() >= fileBytesMin) {
    // Content that is ahead of its progress is fetched again after a crash, and says the same or something newer.
    if ((failure = ingestFile(target, chunk))) return failure;
  } else {
    failure = visitChunk(limits_, chunk, [&](Slice key, Slice value) -> Failure {
      return failureOf(batch.Put(target.get(), key, value));
    });
    if (failure) return failure;
  }
  if ((failure = commit(batch, meta))) return failure;
  takeOver(std::move(table));
  unflushedBytes_ += chunk.size();
  if (unflushedBytes_ < flushBytes) return ok();
  unflushedBytes_ = 0;
  return flushInside();
}

Failure Store::ingestFile(const FamilyPtr& family, Slice chunk) {
  std::error_code error;
  const std::filesystem::path folder = ingestFolder(directory_);
  std::filesystem::create_directories(folder, error);
  if (error) return {"IO", "creating " + folder.string() + ": " + error.message()};
  const std::string path = (folder / (std::to_string(ingestedFiles_++) + ".sst")).string();
  const rocksdb::Options options(databaseOptions(sizes_, cache_), familyOptions(sizes_, cache_));
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options, family.get());
  auto status = writer.Open(path);
  if (status.ok()) {
    Failure failure = visitChunk(limits_, chunk, [&](Slice key, Slice value) -> Failure {
      return failureOf(writer.Put(key, value));
    });
    if (failure) return failure;
    status = writer.Finish();
  }
  if (status.ok()) {
    rocksdb::IngestExternalFileOptions how;
    how.move_files = true;
    how.write_global_seqno = false;
    status = db_->IngestExternalFile(family.get(), {path}, how);
  }
  // Moved away, or of no use: it is the next attempt that writes it anew.
  std::filesystem::remove(path, error);
  return failureOf(status);
}

Failure Store::finishIngest(const std::vector<NamedFamily>& families, uint64_t idNext,
                            const std::vector<MetaChange>& meta) {
  Inside inside(*this);
  if (!inside) return closedFailure();
  rocksdb::WriteBatch batch;
  Changing table = changing();
  Families wanted;
  for (const auto& family : families) {
    const auto found = table.live.find(family.id);
    FamilyPtr handle = found == table.live.end() ? nullptr : found->second;
    if (handle == nullptr) {
      if (Failure failure = createFamily(family.id, handle)) return failure;
    }
    wanted[family.id] = handle;
    putFamily(batch, family);
    table.idNext = std::max<uint64_t>(table.idNext, static_cast<uint64_t>(family.id) + 1);
  }
  for (const auto& [id, handle] : table.live) {
    if (wanted.count(id) > 0) continue;
    table.dropped.push_back(handle);
    deleteFamily(batch, id);
  }
  table.live = std::move(wanted);
  table.idNext = std::max(table.idNext, idNext);
  putIdNext(batch, table.idNext);
  if (Failure failure = commit(batch, meta)) return failure;
  takeOver(std::move(table));
  unflushedBytes_ = 0;
  return flushInside();
}

}  // namespace understudy
