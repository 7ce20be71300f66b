#pragma once

#include <rocksdb/file_checksum.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace understudy {

// CRC-32C of what came before (`crc`, 0 at the beginning) and of these bytes, by the processor's instruction for it
// where there is one: the library of a distribution is built for processors without it.
uint32_t extendCrc32c(uint32_t crc, const char* bytes, size_t count);

// Gives table files a checksum while they are written.
std::shared_ptr<rocksdb::FileChecksumGenFactory> fileChecksums();

// As the store keeps it: four bytes, the highest first.
std::string encodeChecksum(uint32_t crc);
uint32_t decodeChecksum(const std::string& bytes);

constexpr const char* checksumName = "FileChecksumCrc32c";

}  // namespace understudy
