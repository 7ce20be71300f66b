#include <rocksdb/file_checksum.h>
#include <rocksdb/utilities/checkpoint.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>

#include "checkpoint.h"
#include "crc32c.h"
#include "store.h"

namespace understudy {

namespace {

constexpr size_t readBytes = 1 << 20;

// A directory that is only looked at gets no diagnostics written into it.
class SilentLogger : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// "000123.sst" is 123; anything else has no number.
std::optional<uint64_t> numberOfTable(const std::string& name) {
  const auto dot = name.find('.');
  if (dot == std::string::npos || name.substr(dot) != ".sst") return std::nullopt;
  if (dot == 0 || dot > 18 || !std::all_of(name.begin(), name.begin() + dot, [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  return std::stoull(name.substr(0, dot));
}

}  // namespace

Failure checksumOfFile(const std::string& path, FileSum& sum) {
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) return {"IO", "opening " + path + ": " + std::generic_category().message(errno)};
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  std::string piece(readBytes, '\0');
  sum = FileSum();
  for (;;) {
    const size_t read = std::fread(piece.data(), 1, piece.size(), file.get());
    sum.checksum = extendCrc32c(sum.checksum, piece.data(), read);
    sum.bytes += read;
    if (read == piece.size()) continue;
    if (std::ferror(file.get())) return {"IO", "reading " + path + ": " + std::generic_category().message(errno)};
    break;
  }
  return ok();
}

Failure Store::checkpoint(const std::string& directory) {
  Inside inside(*this, Inside::write);
  if (!inside) return inside.failure();
  // Everything applied so far; RocksDB's own flush would wait until compaction has caught up.
  if (Failure failure = flushInside()) return failure;
  rocksdb::Checkpoint* made = nullptr;
  auto status = rocksdb::Checkpoint::Create(db_, &made);
  if (!status.ok()) return failureOf(status);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  return failureOf(checkpoint->CreateCheckpoint(directory, std::numeric_limits<uint64_t>::max()));
}

Failure describeFiles(const std::string& directory, DescribedFiles& described) {
  Settings settings;
  settings.writeBufferBytes = settings.writeBuffersBytes = 1 << 20;
  auto options = databaseOptions(settings, rocksdb::Env::Default());
  options.create_if_missing = false;
  options.info_log = std::make_shared<SilentLogger>();
  options.skip_stats_update_on_db_open = true;
  options.skip_checking_sst_file_sizes_on_db_open = true;
  options.max_open_files = 16;
  const rocksdb::ColumnFamilyOptions family;
  std::vector<std::string> names;
  auto status = rocksdb::DB::ListColumnFamilies(options, directory, &names);
  if (!status.ok()) return failureOfOpen(status);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const auto& name : names) descriptors.emplace_back(name, family);
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  status = rocksdb::DB::OpenForReadOnly(options, directory, descriptors, &handles, &opened);
  if (!status.ok()) return failureOfOpen(status);
  const std::unique_ptr<rocksdb::DB> db(opened);
  std::vector<std::unique_ptr<rocksdb::ColumnFamilyHandle>> owned;
  for (auto* handle : handles) owned.emplace_back(handle);

  for (const auto& handle : owned) {
    if (handle->GetName() != rocksdb::kDefaultColumnFamilyName) continue;
    const std::unique_ptr<rocksdb::Iterator> iterator(db->NewIterator(rocksdb::ReadOptions(), handle.get()));
    for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
      described.meta.emplace_back(iterator->key().ToString(), iterator->value().ToString());
    }
    if (!iterator->status().ok()) return failureOf(iterator->status());
  }

  // Table files have had a checksum since they were written; the others are small.
  const std::unique_ptr<rocksdb::FileChecksumList> known(rocksdb::NewFileChecksumList());
  status = db->GetLiveFilesChecksumInfo(known.get());
  if (!status.ok()) return failureOf(status);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "LOCK" || name == "IDENTITY" || name.rfind("LOG", 0) == 0) continue;
    FileSum sum;
    std::string checksum;
    std::string function;
    const auto number = numberOfTable(name);
    if (number && known->SearchOneFileChecksum(*number, &checksum, &function).ok() && function == checksumName &&
        checksum.size() == 4) {
      sum.checksum = decodeChecksum(checksum);
      std::error_code unreadable;
      sum.bytes = entry.file_size(unreadable);
      if (unreadable) return {"IO", "reading " + entry.path().string() + ": " + unreadable.message()};
    } else if (Failure failure = checksumOfFile(entry.path().string(), sum)) {
      return failure;
    }
    described.files.emplace_back(name, sum);
  }
  if (error) return {"IO", "reading " + directory + ": " + error.message()};
  return ok();
}

}  // namespace understudy
