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
// What one table file gathers: a store of small ones would be slow for ever, as nothing joins them on the last level.
// It is also how much is fetched again after a crash at most, besides the chunk under way.
constexpr uint64_t fileBytesMax = 64 << 20;

// What is known of a chunk before any of it is written.
struct Shape {
  bool ascending = true;
  std::string first;
  std::string last;
};

Failure shapeOf(const Limits& limits, Slice chunk, Shape& shape) {
  bool begun = false;
  Slice first;
  Slice before;
  Failure failure = visitChunk(limits, chunk, [&](Slice key, Slice) -> Failure {
    if (!begun) first = key;
    if (begun && before.compare(key) >= 0) shape.ascending = false;
    begun = true;
    before = key;
    return ok();
  });
  shape.first = first.ToString();
  shape.last = before.ToString();
  return failure;
}

}  // namespace

struct TableFile {
  FamilyPtr family;
  std::string path;
  rocksdb::SstFileWriter writer;
  std::string lastKey;
  uint64_t bytes = 0;

  TableFile(FamilyPtr of, std::string at, const rocksdb::Options& options)
      : family(std::move(of)), path(std::move(at)), writer(rocksdb::EnvOptions(), options, family.get()) {}
};

Ingestion::Ingestion() = default;
Ingestion::~Ingestion() = default;

void Ingestion::forget() {
  std::lock_guard<std::mutex> guard(mutex);
  file.reset();
  meta.clear();
  unflushedBytes = 0;
  failed = ok();
}

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
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  Shape shape;
  if (Failure failure = shapeOf(limits_, chunk, shape)) return failure;
  std::lock_guard<std::mutex> guard(ingestion_.mutex);
  if (ingestion_.failed) return ingestion_.failed;
  // Chunks that were taken before may be lost with the table file: nothing may be stored after them.
  ingestion_.failed = {"IO", "an earlier chunk could not be stored"};
  Failure failure = ingestChecked(family, chunk, shape.ascending, shape.first, shape.last, meta);
  ingestion_.failed = failure;
  return failure;
}

Failure Store::ingestChecked(const NamedFamily& family, Slice chunk, bool ascending, const std::string& first,
                             const std::string& last, const std::vector<MetaChange>& meta) {
  auto& file = ingestion_.file;
  Changing table = changing();
  std::vector<MetaChange> changes;
  if (table.live.count(family.id) == 0) {
    FamilyPtr created;
    if (Failure failure = createFamily(family.id, created)) return failure;
    table.live[family.id] = created;
    table.idNext = std::max<uint64_t>(table.idNext, static_cast<uint64_t>(family.id) + 1);
    changes.push_back({familyKey(family.id), family.name});
    changes.push_back({keys_.idNext, idNextValue(table.idNext)});
  }
  const FamilyPtr target = table.live[family.id];
  changes.insert(changes.end(), meta.begin(), meta.end());

  const bool goesOn = file != nullptr && file->family == target && ascending && file->lastKey < first;
  if (file != nullptr && !goesOn) {
    if (Failure failure = sealFile()) return failure;
  }
  if (file == nullptr && ascending && chunk.size() >= fileBytesMin) {
    if (Failure failure = openFile(target)) return failure;
  }
  if (file == nullptr) {
    rocksdb::WriteBatch batch;
    Failure failure = visitChunk(limits_, chunk, [&](Slice key, Slice value) -> Failure {
      return failureOf(batch.Put(target.get(), key, value));
    });
    if (failure) return failure;
    if ((failure = commit(batch, changes))) return failure;
    takeOver(std::move(table));
    ingestion_.unflushedBytes += chunk.size();
    return ingestion_.unflushedBytes < fileBytesMax ? ok() : flushInside();
  }
  Failure failure = visitChunk(limits_, chunk, [&](Slice key, Slice value) -> Failure {
    return failureOf(file->writer.Put(key, value));
  });
  if (failure) return failure;
  file->lastKey = last;
  file->bytes += chunk.size();
  // The progress of these chunks is stored after their content is, never before.
  ingestion_.meta.insert(ingestion_.meta.end(), changes.begin(), changes.end());
  takeOver(std::move(table));
  return file->bytes < fileBytesMax ? ok() : sealFile();
}

Failure Store::openFile(const FamilyPtr& family) {
  std::error_code error;
  const std::filesystem::path folder = ingestFolder(directory_);
  std::filesystem::create_directories(folder, error);
  if (error) return {"IO", "creating " + folder.string() + ": " + error.message()};
  const std::string path = (folder / (std::to_string(ingestion_.files++) + ".sst")).string();
  const rocksdb::Options options(databaseOptions(settings_, files_.get()), familyOptions(settings_, cache_));
  auto file = std::make_unique<TableFile>(family, path, options);
  if (Failure failure = failureOf(file->writer.Open(path))) return failure;
  ingestion_.file = std::move(file);
  return ok();
}

// Content that is ahead of its progress is fetched again after a crash, and says the same or something newer.
Failure Store::sealFile() {
  const std::unique_ptr<TableFile> file = std::move(ingestion_.file);
  auto status = file->writer.Finish();
  if (status.ok()) {
    rocksdb::IngestExternalFileOptions how;
    how.move_files = true;
    how.write_global_seqno = false;
    status = db_->IngestExternalFile(file->family.get(), {file->path}, how);
  }
  // Moved away, or of no use.
  std::error_code ignored;
  std::filesystem::remove(file->path, ignored);
  if (!status.ok()) return failureOf(status);
  rocksdb::WriteBatch batch;
  if (Failure failure = commit(batch, ingestion_.meta)) return failure;
  ingestion_.meta.clear();
  ingestion_.unflushedBytes = 0;
  return flushInside();
}

Failure Store::sealIngestion() {
  std::lock_guard<std::mutex> guard(ingestion_.mutex);
  if (ingestion_.failed) return ingestion_.failed;
  if (ingestion_.file == nullptr) return ok();
  ingestion_.failed = {"IO", "earlier chunks could not be stored"};
  Failure failure = sealFile();
  ingestion_.failed = failure;
  return failure;
}

std::optional<std::string> Store::unsealedMeta(const std::string& key) {
  std::lock_guard<std::mutex> guard(ingestion_.mutex);
  for (auto change = ingestion_.meta.rbegin(); change != ingestion_.meta.rend(); ++change) {
    if (change->key == key) return change->value;
  }
  return std::nullopt;
}

Failure Store::finishIngest(const std::vector<NamedFamily>& families, uint64_t idNext,
                            const std::vector<MetaChange>& meta) {
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  if (Failure failure = sealIngestion()) return failure;
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
  return flushInside();
}

}  // namespace understudy
