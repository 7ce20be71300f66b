// The calls of the addon, as src/engine/rocksdb-addon.ts declares them. Here arguments become C++ values and results
// JavaScript ones; what is done is in store.h.
#include <napi.h>

#include <memory>
#include <mutex>
#include <set>

#include "checkpoint.h"
#include "store.h"
#include "work.h"

namespace understudy {

namespace {

using rocksdb::Slice;
using StorePtr = std::shared_ptr<Store>;

// Stores of all environments. They are closed while the process is whole: RocksDB's threads must not meet its static
// data being destroyed, and what is destroyed first nobody can say.
class OpenStores {
 public:
  static OpenStores& get() {
    // Never destroyed itself.
    static auto* stores = new OpenStores();
    return *stores;
  }

  void add(const StorePtr& store) {
    std::lock_guard<std::mutex> guard(mutex_);
    stores_.insert(store);
  }

  void remove(const StorePtr& store) {
    std::lock_guard<std::mutex> guard(mutex_);
    stores_.erase(store);
  }

  void closeAll() {
    std::set<StorePtr> stores;
    {
      std::lock_guard<std::mutex> guard(mutex_);
      stores.swap(stores_);
    }
    for (const auto& store : stores) store->close();
  }

 private:
  std::mutex mutex_;
  std::set<StorePtr> stores_;
};

void closeStore(const StorePtr& store) {
  store->close();
  OpenStores::get().remove(store);
}

[[noreturn]] void refuse(Napi::Env env, const char* what) { throw Napi::TypeError::New(env, what); }

Slice sliceOf(const Napi::Value& value) {
  if (!value.IsTypedArray()) refuse(value.Env(), "bytes are expected");
  const auto array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != napi_uint8_array) refuse(value.Env(), "bytes are expected");
  const auto bytes = value.As<Napi::Uint8Array>();
  const auto* data = reinterpret_cast<const char*>(bytes.Data());
  return data == nullptr ? Slice() : Slice(data, bytes.ByteLength());
}

// A copy, wherever a worker reads it: JavaScript may write to its own bytes meanwhile, or transfer them to a thread.
std::string stringOf(const Napi::Value& value) { return sliceOf(value).ToString(); }

std::optional<std::string> optionalOf(const Napi::Value& value) {
  if (value.IsUndefined()) return std::nullopt;
  return stringOf(value);
}

std::string textOf(const Napi::Value& value) {
  if (!value.IsString()) refuse(value.Env(), "text is expected");
  return value.As<Napi::String>().Utf8Value();
}

double numberOf(const Napi::Value& value) {
  if (!value.IsNumber()) refuse(value.Env(), "a number is expected");
  return value.As<Napi::Number>().DoubleValue();
}

uint32_t u32Of(const Napi::Value& value) {
  const double number = numberOf(value);
  if (!(number >= 0 && number <= 4294967295.0)) refuse(value.Env(), "a number of 32 bits is expected");
  return static_cast<uint32_t>(number);
}

uint64_t u64Of(const Napi::Value& value) {
  const double number = numberOf(value);
  if (!(number >= 0 && number <= 9007199254740991.0)) refuse(value.Env(), "a safe integer is expected");
  return static_cast<uint64_t>(number);
}

Napi::Array arrayOf(const Napi::Value& value) {
  if (!value.IsArray()) refuse(value.Env(), "an array is expected");
  return value.As<Napi::Array>();
}

// Flat arrays: key, value or undefined, key, value or undefined, ...
std::vector<MetaChange> metaOf(const Napi::Value& value) {
  const Napi::Array array = arrayOf(value);
  std::vector<MetaChange> changes;
  for (uint32_t index = 0; index + 1 < array.Length(); index += 2) {
    changes.push_back({stringOf(array.Get(index)), optionalOf(array.Get(index + 1))});
  }
  return changes;
}

std::vector<NamedFamily> familiesOf(const Napi::Value& value) {
  const Napi::Array array = arrayOf(value);
  std::vector<NamedFamily> families;
  for (uint32_t index = 0; index + 1 < array.Length(); index += 2) {
    families.push_back({u32Of(array.Get(index)), textOf(array.Get(index + 1))});
  }
  return families;
}

Napi::Value bytesOf(Napi::Env env, Slice bytes) {
  return Napi::Buffer<char>::Copy(env, bytes.data(), bytes.size());
}

// Large results are handed over without a copy.
Napi::Value bytesOf(Napi::Env env, std::string&& bytes) {
  constexpr size_t copiedBytesMax = 4 << 10;
  if (bytes.size() <= copiedBytesMax) return bytesOf(env, Slice(bytes));
  auto owned = std::make_unique<std::string>(std::move(bytes));
  const Napi::Value value = Napi::Buffer<char>::NewOrCopy(
      env, owned->data(), owned->size(), [](Napi::Env, char*, std::string* string) { delete string; }, owned.get());
  owned.release();
  return value;
}

Napi::Value metaValue(Napi::Env env, const std::vector<std::pair<std::string, std::string>>& meta) {
  Napi::Array array = Napi::Array::New(env, meta.size() * 2);
  uint32_t at = 0;
  for (const auto& [key, value] : meta) {
    array.Set(at++, bytesOf(env, Slice(key)));
    array.Set(at++, bytesOf(env, Slice(value)));
  }
  return array;
}

Napi::Value packedValue(Napi::Env env, Packed& packed) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("count", Napi::Number::New(env, packed.count));
  object.Set("ended", Napi::Boolean::New(env, packed.ended));
  object.Set("bytes", bytesOf(env, std::move(packed.bytes)));
  object.Set("nextKey", packed.nextKey ? bytesOf(env, Slice(*packed.nextKey)) : env.Undefined());
  return object;
}

Napi::Value nothing(Napi::Env env) { return env.Undefined(); }

void check(Napi::Env env, const Failure& failure) {
  if (failure) throw Napi::Error(env, errorValue(env, failure));
}

class Database : public Napi::ObjectWrap<Database> {
 public:
  static void init(Napi::Env env, Napi::Object exports) {
    exports.Set("Database", DefineClass(env, "Database",
                                        {
                                            InstanceMethod<&Database::open>("open"),
                                            InstanceMethod<&Database::adopt>("adopt"),
                                            InstanceMethod<&Database::close>("close"),
                                            InstanceMethod<&Database::apply>("apply"),
                                            InstanceMethod<&Database::write>("write"),
                                            InstanceMethod<&Database::flush>("flush"),
                                            InstanceMethod<&Database::checkpoint>("checkpoint"),
                                            InstanceMethod<&Database::ingest>("ingest"),
                                            InstanceMethod<&Database::finishIngest>("finishIngest"),
                                            InstanceMethod<&Database::getCached>("getCached"),
                                            InstanceMethod<&Database::getMany>("getMany"),
                                            InstanceMethod<&Database::getMeta>("getMeta"),
                                            InstanceMethod<&Database::readChunk>("readChunk"),
                                            InstanceMethod<&Database::sizeEstimate>("sizeEstimate"),
                                            InstanceMethod<&Database::createView>("createView"),
                                            InstanceMethod<&Database::releaseView>("releaseView"),
                                            InstanceMethod<&Database::createCursor>("createCursor"),
                                            InstanceMethod<&Database::advance>("advance"),
                                            InstanceMethod<&Database::releaseCursor>("releaseCursor"),
                                        }));
  }

  explicit Database(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Database>(info), env_(info.Env()) {
    const Napi::Object options = info[0].ToObject();
    Limits limits;
    limits.keyBytesMax = u32Of(options.Get("keyBytesMax"));
    limits.valueBytesMax = u32Of(options.Get("valueBytesMax"));
    limits.familyNameBytesMax = u32Of(options.Get("familyNameBytesMax"));
    limits.batchOperationsMax = u32Of(options.Get("batchOperationsMax"));
    limits.blockOriginsMax = u32Of(options.Get("blockOriginsMax"));
    limits.blockEntriesMax = u32Of(options.Get("blockEntriesMax"));
    Settings settings;
    settings.writeBufferBytes = u64Of(options.Get("writeBufferBytes"));
    settings.writeBuffersBytes = u64Of(options.Get("writeBuffersBytes"));
    settings.cacheBytes = u64Of(options.Get("cacheBytes"));
    settings.compression = textOf(options.Get("compression"));
    settings.bloomBitsPerKey = u32Of(options.Get("bloomBitsPerKey"));
    Bookkeeping keys{stringOf(options.Get("familyPrefix")), stringOf(options.Get("idNextKey"))};
    store_ = std::make_shared<Store>(limits, std::move(settings), std::move(keys));
    napi_add_env_cleanup_hook(env_, &Database::onEnvironmentEnd, this);
  }

  ~Database() override {
    napi_remove_env_cleanup_hook(env_, &Database::onEnvironmentEnd, this);
    closeStore(store_);
  }

 private:
  // The environment (a worker, or the process's main one) ends: calls that run end first, those that wait find the
  // store closed.
  static void onEnvironmentEnd(void* database) { closeStore(static_cast<Database*>(database)->store_); }

  Napi::Value open(const Napi::CallbackInfo& info) {
    const std::string directory = textOf(info[0]);
    auto opened = std::make_shared<Opened>();
    OpenStores::get().add(store_);
    return Work::start(
        info.Env(), [store = store_, directory, opened] { return store->open(directory, *opened); },
        [opened](Napi::Env env) -> Napi::Value {
          Napi::Object object = Napi::Object::New(env);
          object.Set("foreign", Napi::Boolean::New(env, opened->foreign));
          object.Set("meta", metaValue(env, opened->meta));
          return object;
        });
  }

  Napi::Value adopt(const Napi::CallbackInfo& info) {
    const Napi::Array array = arrayOf(info[0]);
    std::vector<FamilyId> ids;
    for (uint32_t index = 0; index < array.Length(); index++) ids.push_back(u32Of(array.Get(index)));
    const uint64_t idNext = u64Of(info[1]);
    return Work::start(info.Env(), [store = store_, ids, idNext] { return store->adopt(ids, idNext); }, nothing);
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    return Work::start(
        info.Env(),
        [store = store_] {
          closeStore(store);
          return ok();
        },
        nothing);
  }

  Napi::Value apply(const Napi::CallbackInfo& info) {
    const Napi::Array array = arrayOf(info[0]);
    std::vector<std::string> blocks;
    for (uint32_t index = 0; index < array.Length(); index++) blocks.push_back(stringOf(array.Get(index)));
    auto changes = std::make_shared<std::vector<TableChange>>();
    return Work::start(
        info.Env(),
        [store = store_, blocks = std::move(blocks), meta = metaOf(info[1]), changes] {
          return store->apply(blocks, meta, *changes);
        },
        [changes](Napi::Env env) -> Napi::Value {
          Napi::Array result = Napi::Array::New(env, changes->size() * 2);
          uint32_t at = 0;
          for (const auto& change : *changes) {
            result.Set(at++, Napi::Number::New(env, change.id));
            result.Set(at++, change.created ? Napi::Value(Napi::String::New(env, change.name)) : env.Undefined());
          }
          return result;
        });
  }

  Napi::Value write(const Napi::CallbackInfo& info) {
    const Napi::Array array = arrayOf(info[0]);
    std::vector<KeyChange> keys;
    for (uint32_t index = 0; index + 2 < array.Length(); index += 3) {
      keys.push_back({u32Of(array.Get(index)), stringOf(array.Get(index + 1)), optionalOf(array.Get(index + 2))});
    }
    return Work::start(
        info.Env(),
        [store = store_, keys = std::move(keys), meta = metaOf(info[1])] { return store->write(keys, meta); }, nothing);
  }

  Napi::Value flush(const Napi::CallbackInfo& info) {
    return Work::start(info.Env(), [store = store_] { return store->flush(); }, nothing);
  }

  Napi::Value checkpoint(const Napi::CallbackInfo& info) {
    const std::string directory = textOf(info[0]);
    return Work::start(info.Env(), [store = store_, directory] { return store->checkpoint(directory); }, nothing);
  }

  Napi::Value ingest(const Napi::CallbackInfo& info) {
    const NamedFamily family{u32Of(info[0]), textOf(info[1])};
    return Work::start(
        info.Env(),
        [store = store_, family, chunk = stringOf(info[2]), meta = metaOf(info[3])] {
          return store->ingest(family, chunk, meta);
        },
        nothing);
  }

  Napi::Value finishIngest(const Napi::CallbackInfo& info) {
    return Work::start(
        info.Env(),
        [store = store_, families = familiesOf(info[0]), idNext = u64Of(info[1]), meta = metaOf(info[2])] {
          return store->finishIngest(families, idNext, meta);
        },
        nothing);
  }

  // The value, undefined where there is none, null where only the disk knows.
  Napi::Value getCached(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Cached found = Cached::absent;
    rocksdb::PinnableSlice value;
    check(env, store_->getCached(u32Of(info[0]), sliceOf(info[1]), u64Of(info[2]), found, value));
    if (found == Cached::absent) return env.Undefined();
    if (found == Cached::elsewhere) return env.Null();
    return bytesOf(env, Slice(value));
  }

  Napi::Value getMany(const Napi::CallbackInfo& info) {
    const FamilyId family = u32Of(info[0]);
    const Napi::Array array = arrayOf(info[1]);
    std::vector<std::string> keys;
    for (uint32_t index = 0; index < array.Length(); index++) keys.push_back(stringOf(array.Get(index)));
    auto values = std::make_shared<std::vector<std::optional<std::string>>>();
    return Work::start(
        info.Env(),
        [store = store_, family, keys = std::move(keys), view = u64Of(info[2]), values] {
          return store->getMany(family, keys, view, *values);
        },
        [values](Napi::Env env) -> Napi::Value {
          Napi::Array result = Napi::Array::New(env, values->size());
          uint32_t at = 0;
          for (auto& value : *values) {
            result.Set(at++, value ? bytesOf(env, std::move(*value)) : env.Undefined());
          }
          return result;
        });
  }

  Napi::Value getMeta(const Napi::CallbackInfo& info) {
    auto value = std::make_shared<std::optional<std::string>>();
    return Work::start(
        info.Env(), [store = store_, key = stringOf(info[0]), value] { return store->getMeta(key, *value); },
        [value](Napi::Env env) -> Napi::Value { return *value ? bytesOf(env, Slice(**value)) : env.Undefined(); });
  }

  Napi::Value readChunk(const Napi::CallbackInfo& info) {
    auto packed = std::make_shared<Packed>();
    return Work::start(
        info.Env(),
        [store = store_, family = u32Of(info[0]), view = u64Of(info[1]), start = stringOf(info[2]),
         bytesMax = u32Of(info[3]), packed] { return store->readChunk(family, view, start, bytesMax, *packed); },
        [packed](Napi::Env env) -> Napi::Value { return packedValue(env, *packed); });
  }

  Napi::Value sizeEstimate(const Napi::CallbackInfo& info) {
    auto bytes = std::make_shared<uint64_t>(0);
    return Work::start(
        info.Env(), [store = store_, bytes] { return store->sizeEstimate(*bytes); },
        [bytes](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, static_cast<double>(*bytes)); });
  }

  Napi::Value createView(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Handle view = 0;
    std::vector<std::pair<std::string, std::string>> meta;
    check(env, store_->createView(view, meta));
    Napi::Object object = Napi::Object::New(env);
    object.Set("handle", Napi::Number::New(env, static_cast<double>(view)));
    object.Set("meta", metaValue(env, meta));
    return object;
  }

  Napi::Value releaseView(const Napi::CallbackInfo& info) {
    store_->releaseView(u64Of(info[0]));
    return info.Env().Undefined();
  }

  Napi::Value createCursor(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Range range;
    range.lower = optionalOf(info[2]);
    range.upper = optionalOf(info[3]);
    range.reverse = info[4].ToBoolean();
    range.keys = info[5].ToBoolean();
    range.values = info[6].ToBoolean();
    Handle cursor = 0;
    check(env, store_->createCursor(u32Of(info[0]), u64Of(info[1]), std::move(range), cursor));
    return Napi::Number::New(env, static_cast<double>(cursor));
  }

  Napi::Value advance(const Napi::CallbackInfo& info) {
    auto packed = std::make_shared<Packed>();
    return Work::start(
        info.Env(),
        [store = store_, cursor = u64Of(info[0]), seek = optionalOf(info[1]), count = u32Of(info[2]),
         bytesMax = u32Of(info[3]), packed] { return store->advance(cursor, seek, count, bytesMax, *packed); },
        [packed](Napi::Env env) -> Napi::Value { return packedValue(env, *packed); });
  }

  Napi::Value releaseCursor(const Napi::CallbackInfo& info) {
    store_->releaseCursor(u64Of(info[0]));
    return info.Env().Undefined();
  }

  Napi::Env env_;
  StorePtr store_;
};

// Flat: name, bytes, checksum, name, ...
Napi::Value describeDirectory(const Napi::CallbackInfo& info) {
  const std::string directory = textOf(info[0]);
  auto described = std::make_shared<DescribedFiles>();
  return Work::start(
      info.Env(), [directory, described] { return describeFiles(directory, *described); },
      [described](Napi::Env env) -> Napi::Value {
        Napi::Array files = Napi::Array::New(env, described->files.size() * 3);
        uint32_t at = 0;
        for (const auto& [name, sum] : described->files) {
          files.Set(at++, Napi::String::New(env, name));
          files.Set(at++, Napi::Number::New(env, static_cast<double>(sum.bytes)));
          files.Set(at++, Napi::Number::New(env, sum.checksum));
        }
        Napi::Object object = Napi::Object::New(env);
        object.Set("meta", metaValue(env, described->meta));
        object.Set("files", files);
        return object;
      });
}

Napi::Value checksumFile(const Napi::CallbackInfo& info) {
  const std::string path = textOf(info[0]);
  auto sum = std::make_shared<FileSum>();
  return Work::start(
      info.Env(), [path, sum] { return checksumOfFile(path, *sum); },
      [sum](Napi::Env env) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        object.Set("bytes", Napi::Number::New(env, static_cast<double>(sum->bytes)));
        object.Set("checksum", Napi::Number::New(env, sum->checksum));
        return object;
      });
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  Database::init(env, exports);
  exports.Set("describeFiles", Napi::Function::New(env, describeDirectory));
  exports.Set("checksumFile", Napi::Function::New(env, checksumFile));
  exports.Set("closeAll", Napi::Function::New(env, [](const Napi::CallbackInfo& info) -> Napi::Value {
                OpenStores::get().closeAll();
                return info.Env().Undefined();
              }));
  return exports;
}

}  // namespace

NODE_API_MODULE(understudy_rocksdb, initialise)

}  // namespace understudy
