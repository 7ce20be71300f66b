#include "file_system.h"

#include <rocksdb/file_system.h>

#include <atomic>
#include <mutex>
#include <string>
#include <utility>

namespace understudy {

namespace {

using rocksdb::DataVerificationInfo;
using rocksdb::FileOptions;
using rocksdb::FSWritableFile;
using rocksdb::FSWritableFileOwnerWrapper;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// Nothing is written behind what could not be written: the file is short, and whoever syncs it hears why.
class RememberingFile final : public FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return later([&] { return target()->Append(data, options, debug); });
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    return later([&] { return target()->Append(data, options, verification, debug); });
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options, IODebugContext* debug) override {
    return later([&] { return target()->PositionedAppend(data, offset, options, debug); });
  }
  IOStatus PositionedAppend(const Slice& data, uint64_t offset, const IOOptions& options,
                            const DataVerificationInfo& verification, IODebugContext* debug) override {
    return later([&] { return target()->PositionedAppend(data, offset, options, verification, debug); });
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return later([&] { return target()->Flush(options, debug); });
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options, IODebugContext* debug) override {
    return later([&] { return target()->RangeSync(offset, bytes, options, debug); });
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    return now([&] { return target()->Truncate(size, options, debug); });
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return now([&] { return target()->Sync(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return now([&] { return target()->Fsync(options, debug); });
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    const IOStatus closed = target()->Close(options, debug);
    const IOStatus before = remembered();
    return before.ok() ? closed : before;
  }

 private:
  template <typename Call>
  IOStatus later(Call call) {
    if (failed_) return IOStatus::OK();
    IOStatus status = call();
    if (status.ok()) return status;
    std::lock_guard<std::mutex> guard(mutex_);
    error_ = std::move(status);
    failed_ = true;
    return IOStatus::OK();
  }

  template <typename Call>
  IOStatus now(Call call) {
    IOStatus before = remembered();
    return before.ok() ? call() : before;
  }

  IOStatus remembered() {
    if (!failed_) return IOStatus::OK();
    std::lock_guard<std::mutex> guard(mutex_);
    return error_;
  }

  // A file may be synced by one thread while another one appends to it.
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  IOStatus error_;
};

class RememberingFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  using rocksdb::FileSystemWrapper::FileSystemWrapper;

  const char* Name() const override { return "UnderstudyFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options, std::unique_ptr<FSWritableFile>* file,
                           IODebugContext* debug) override {
    return remembering(target()->NewWritableFile(name, options, file, debug), file);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options, std::unique_ptr<FSWritableFile>* file,
                              IODebugContext* debug) override {
    return remembering(target()->ReopenWritableFile(name, options, file, debug), file);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& before, const FileOptions& options,
                             std::unique_ptr<FSWritableFile>* file, IODebugContext* debug) override {
    return remembering(target()->ReuseWritableFile(name, before, options, file, debug), file);
  }
  // RocksDB's own messages as well: the target's would be written to a file of the target.
  IOStatus NewLogger(const std::string& name, const IOOptions& options, std::shared_ptr<rocksdb::Logger>* logger,
                     IODebugContext* debug) override {
    return FileSystem::NewLogger(name, options, logger, debug);
  }

 private:
  static IOStatus remembering(IOStatus status, std::unique_ptr<FSWritableFile>* file) {
    if (status.ok()) *file = std::make_unique<RememberingFile>(std::move(*file));
    return status;
  }
};

}  // namespace

std::unique_ptr<rocksdb::Env> fileSystemOfStores() {
  return rocksdb::NewCompositeEnv(std::make_shared<RememberingFileSystem>(rocksdb::FileSystem::Default()));
}

}  // namespace understudy
