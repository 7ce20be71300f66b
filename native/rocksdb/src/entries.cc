#include "entries.h"

namespace understudy {

namespace {

using rocksdb::Slice;

constexpr size_t blockHeaderBytes = 128;
constexpr size_t payloadBytesAt = 36;
constexpr size_t entryCountAt = 56;
constexpr size_t entryHeaderBytes = 20;
constexpr size_t operationHeaderBytes = 13;

Failure corrupt(const std::string& what) { return {"BLOCK", "block: " + what}; }

// Takes from the front of what is left; nothing is read beyond its end.
class Reader {
 public:
  explicit Reader(Slice bytes) : left_(bytes) {}

  // Null where fewer are left.
  const char* take(size_t count) {
    if (count > left_.size()) return nullptr;
    const char* at = left_.data();
    left_.remove_prefix(count);
    return at;
  }

  size_t left() const { return left_.size(); }

 private:
  Slice left_;
};

bool isUtf8(Slice text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  while (at < end) {
    const unsigned char first = *at++;
    if (first < 0x80) continue;
    int more = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
      more = 1;
    } else if (first >= 0xe0 && first <= 0xef) {
      more = 2;
      if (first == 0xe0) low = 0xa0;
      if (first == 0xed) high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      more = 3;
      if (first == 0xf0) low = 0x90;
      if (first == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; more > 0; more--) {
      if (at == end || *at < low || *at > high) return false;
      at++;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}

Failure readOperation(const Limits& limits, Reader& reader, Operation& operation) {
  const char* head = reader.take(operationHeaderBytes);
  if (head == nullptr) return corrupt("an operation header is cut off");
  const auto kind = static_cast<unsigned char>(head[0]);
  if (kind < 1 || kind > 5) return corrupt("expected operation kind 1 to 5, found " + std::to_string(kind));
  operation.kind = static_cast<Kind>(kind);
  operation.family = readU32(head + 1);
  const uint32_t keyBytes = readU32(head + 5);
  const uint32_t valueBytes = readU32(head + 9);
  uint32_t keyBytesMax = limits.keyBytesMax;
  uint32_t valueBytesMax = 0;
  switch (operation.kind) {
    case Kind::put:
      valueBytesMax = limits.valueBytesMax;
      break;
    case Kind::delRange:
      valueBytesMax = limits.keyBytesMax;
      break;
    case Kind::createFamily:
      keyBytesMax = limits.familyNameBytesMax;
      break;
    case Kind::dropFamily:
      keyBytesMax = 0;
      break;
    case Kind::del:
      break;
  }
  if (keyBytes > keyBytesMax || valueBytes > valueBytesMax) {
    return corrupt("an operation of " + std::to_string(keyBytes) + " + " + std::to_string(valueBytes) + " bytes");
  }
  const char* key = reader.take(keyBytes);
  const char* value = key == nullptr ? nullptr : reader.take(valueBytes);
  if (value == nullptr) return corrupt("an operation is cut off");
  operation.key = Slice(key, keyBytes);
  operation.value = Slice(value, valueBytes);
  if (operation.kind == Kind::createFamily && !isUtf8(operation.key)) return corrupt("a family name is not UTF-8");
  return ok();
}

}  // namespace

Failure visitBlock(const Limits& limits, Slice block, const OperationVisitor& visit) {
  Reader reader(block);
  const char* header = reader.take(blockHeaderBytes);
  if (header == nullptr) return corrupt("the header is cut off");
  if (readU32(header + payloadBytesAt) != reader.left()) {
    return corrupt("expected a payload of " + std::to_string(readU32(header + payloadBytesAt)) + " bytes, found " +
                   std::to_string(reader.left()));
  }
  const uint32_t entryCount = readU32(header + entryCountAt);
  if (entryCount == 0 || entryCount > limits.blockEntriesMax) return corrupt(std::to_string(entryCount) + " entries");
  const char* count = reader.take(2);
  if (count == nullptr) return corrupt("the origins are cut off");
  const uint32_t originCount = readU16(count);
  if (originCount > limits.blockOriginsMax) return corrupt(std::to_string(originCount) + " origins");
  for (uint32_t index = 0; index < originCount; index++) {
    const char* nameBytes = reader.take(1);
    const size_t bytes = nameBytes == nullptr ? 0 : static_cast<unsigned char>(*nameBytes);
    const char* name = nameBytes == nullptr ? nullptr : reader.take(bytes + 8);
    if (name == nullptr) return corrupt("an origin is cut off");
    if (!isUtf8(Slice(name, bytes))) return corrupt("a node name is not UTF-8");
  }
  for (uint32_t index = 0; index < entryCount; index++) {
    const char* head = reader.take(entryHeaderBytes);
    if (head == nullptr) return corrupt("an entry header is cut off");
    const uint32_t bytes = readU32(head);
    if (bytes < entryHeaderBytes - 4 || bytes - (entryHeaderBytes - 4) > reader.left()) {
      return corrupt("an entry of " + std::to_string(bytes) + " bytes does not fit");
    }
    if (readU16(head + 4) >= originCount) return corrupt("an entry of an unknown origin");
    // Of the request, which is a safe integer, nothing else matters here.
    if (readU32(head + 12) >= 1u << 21) return corrupt("a request number that is no safe integer");
    const size_t operationsBytes = bytes - (entryHeaderBytes - 4);
    Reader operations(Slice(reader.take(operationsBytes), operationsBytes));
    const uint32_t operationCount = readU32(head + 16);
    if (operationCount > limits.batchOperationsMax) return corrupt(std::to_string(operationCount) + " operations");
    for (uint32_t number = 0; number < operationCount; number++) {
      Operation operation{};
      if (Failure failure = readOperation(limits, operations, operation)) return failure;
      if (Failure failure = visit(operation)) return failure;
    }
    if (operations.left() > 0) return corrupt("bytes after the operations of an entry");
  }
  if (reader.left() > 0) return corrupt("bytes after the entries");
  return ok();
}

Failure visitChunk(const Limits& limits, Slice chunk, const EntryVisitor& visit) {
  Reader reader(chunk);
  while (reader.left() > 0) {
    const size_t at = chunk.size() - reader.left();
    const char* head = reader.take(chunkFrameBytes);
    if (head == nullptr) return {"PROTOCOL", "chunk: entry cut off at byte " + std::to_string(at)};
    const uint32_t keyBytes = readU32(head);
    const uint32_t valueBytes = readU32(head + 4);
    const bool fits = keyBytes <= limits.keyBytesMax && valueBytes <= limits.valueBytesMax;
    const char* key = fits ? reader.take(keyBytes) : nullptr;
    const char* value = key == nullptr ? nullptr : reader.take(valueBytes);
    if (value == nullptr) {
      return {"PROTOCOL", "chunk: entry at byte " + std::to_string(at) + " of " + std::to_string(keyBytes) + " + " +
                              std::to_string(valueBytes) + " bytes does not fit"};
    }
    if (Failure failure = visit(Slice(key, keyBytes), Slice(value, valueBytes))) return failure;
  }
  return ok();
}

void appendChunkEntry(std::string& chunk, Slice key, Slice value) {
  char frame[chunkFrameBytes];
  writeU32(frame, static_cast<uint32_t>(key.size()));
  writeU32(frame + 4, static_cast<uint32_t>(value.size()));
  chunk.append(frame, chunkFrameBytes);
  chunk.append(key.data(), key.size());
  chunk.append(value.data(), value.size());
}

}  // namespace understudy
