#pragma once

#include <rocksdb/slice.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "failure.h"

namespace understudy {

// Bounds of the formats; they come from JavaScript, which has them in one place.
struct Limits {
  uint32_t keyBytesMax = 0;
  uint32_t valueBytesMax = 0;
  uint32_t familyNameBytesMax = 0;
  uint32_t batchOperationsMax = 0;
  uint32_t blockOriginsMax = 0;
  uint32_t blockEntriesMax = 0;
};

enum class Kind : uint8_t { put = 1, del = 2, delRange = 3, createFamily = 4, dropFamily = 5 };

// One operation of an entry: views into the block. delRange: key = start, value = end. createFamily: key = name.
struct Operation {
  Kind kind;
  uint32_t family;
  rocksdb::Slice key;
  rocksdb::Slice value;
};

inline uint32_t readU16(const char* at) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(at);
  return static_cast<uint32_t>(bytes[0]) | static_cast<uint32_t>(bytes[1]) << 8;
}

inline uint32_t readU32(const char* at) { return readU16(at) | readU16(at + 2) << 16; }

inline void writeU32(char* at, uint32_t value) {
  for (int index = 0; index < 4; index++) at[index] = static_cast<char>(value >> (8 * index) & 0xff);
}

using OperationVisitor = std::function<Failure(const Operation&)>;

// The operations of a block in the journal's own encoding (src/codec/block.ts, operations.ts), in their order. The
// checksums were verified by whoever read the block; every length is held against what is there all the same.
Failure visitBlock(const Limits& limits, rocksdb::Slice block, const OperationVisitor& visit);

using EntryVisitor = std::function<Failure(rocksdb::Slice key, rocksdb::Slice value)>;

// The entries of a chunk (src/codec/chunk.ts), in their order.
Failure visitChunk(const Limits& limits, rocksdb::Slice chunk, const EntryVisitor& visit);

constexpr size_t chunkFrameBytes = 8;

void appendChunkEntry(std::string& chunk, rocksdb::Slice key, rocksdb::Slice value);

}  // namespace understudy
