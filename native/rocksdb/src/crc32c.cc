#include "crc32c.h"

#include <cstring>

#if defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace understudy {

namespace {

struct Table {
  uint32_t values[8][256];
  Table() {
    for (uint32_t index = 0; index < 256; index++) {
      uint32_t value = index;
      for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0x82f63b78U : value >> 1;
      values[0][index] = value;
    }
    for (uint32_t index = 0; index < 256; index++) {
      for (int slice = 1; slice < 8; slice++) {
        values[slice][index] = values[slice - 1][index] >> 8 ^ values[0][values[slice - 1][index] & 0xff];
      }
    }
  }
};

uint32_t extendByTable(uint32_t crc, const char* bytes, size_t count) {
  static const Table table;
  const auto* at = reinterpret_cast<const unsigned char*>(bytes);
  for (; count >= 8; count -= 8, at += 8) {
    const uint32_t low = crc ^ (static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 |
                                static_cast<uint32_t>(at[2]) << 16 | static_cast<uint32_t>(at[3]) << 24);
    crc = table.values[7][low & 0xff] ^ table.values[6][low >> 8 & 0xff] ^ table.values[5][low >> 16 & 0xff] ^
          table.values[4][low >> 24] ^ table.values[3][at[4]] ^ table.values[2][at[5]] ^ table.values[1][at[6]] ^
          table.values[0][at[7]];
  }
  for (; count > 0; count--, at++) crc = table.values[0][(crc ^ *at) & 0xff] ^ crc >> 8;
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t extendByInstruction(uint32_t crc, const char* bytes, size_t count) {
  uint64_t wide = crc;
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; count > 0; count--, bytes++) crc = __builtin_ia32_crc32qi(crc, static_cast<unsigned char>(*bytes));
  return crc;
}

bool hasInstruction() {
  static const bool has = __builtin_cpu_supports("sse4.2");
  return has;
}
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
uint32_t extendByInstruction(uint32_t crc, const char* bytes, size_t count) {
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    crc = __crc32cd(crc, word);
  }
  for (; count > 0; count--, bytes++) crc = __crc32cb(crc, static_cast<unsigned char>(*bytes));
  return crc;
}

bool hasInstruction() { return true; }
#else
uint32_t extendByInstruction(uint32_t crc, const char* bytes, size_t count) { return extendByTable(crc, bytes, count); }

bool hasInstruction() { return false; }
#endif

class Generator : public rocksdb::FileChecksumGenerator {
 public:
  void Update(const char* data, size_t n) override { crc_ = extendCrc32c(crc_, data, n); }
  void Finalize() override { checksum_ = encodeChecksum(crc_); }
  std::string GetChecksum() const override { return checksum_; }
  const char* Name() const override { return checksumName; }

 private:
  uint32_t crc_ = 0;
  std::string checksum_;
};

class Factory : public rocksdb::FileChecksumGenFactory {
 public:
  std::unique_ptr<rocksdb::FileChecksumGenerator> CreateFileChecksumGenerator(
      const rocksdb::FileChecksumGenContext& context) override {
    const std::string& wanted = context.requested_checksum_func_name;
    if (!wanted.empty() && wanted != checksumName) return nullptr;
    return std::make_unique<Generator>();
  }
  const char* Name() const override { return "FileChecksumGenCrc32cFactory"; }
};

}  // namespace

uint32_t extendCrc32c(uint32_t crc, const char* bytes, size_t count) {
  crc = ~crc;
  return ~(hasInstruction() ? extendByInstruction(crc, bytes, count) : extendByTable(crc, bytes, count));
}

std::shared_ptr<rocksdb::FileChecksumGenFactory> fileChecksums() { return std::make_shared<Factory>(); }

std::string encodeChecksum(uint32_t crc) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(crc >> shift & 0xff));
  return bytes;
}

uint32_t decodeChecksum(const std::string& bytes) {
  uint32_t crc = 0;
  for (const char byte : bytes) crc = crc << 8 | static_cast<unsigned char>(byte);
  return crc;
}

}  // namespace understudy
