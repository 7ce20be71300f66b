#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "failure.h"

namespace understudy {

struct FileSum {
  uint64_t bytes = 0;
  // CRC-32C.
  uint32_t checksum = 0;
};

struct DescribedFiles {
  // The bookkeeping inside of the files.
  std::vector<std::pair<std::string, std::string>> meta;
  std::vector<std::pair<std::string, FileSum>> files;
};

// Reads the whole file.
Failure checksumOfFile(const std::string& path, FileSum& sum);

// What a checkpoint holds, from inside of it; nothing is written there. No store may have the directory open.
Failure describeFiles(const std::string& directory, DescribedFiles& described);

}  // namespace understudy
