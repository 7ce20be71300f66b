#pragma once

#include <string>

#include "failure.h"

namespace understudy {

// Table files that are written before RocksDB takes them lie in a folder of their own in the store's.
std::string ingestFolder(const std::string& directory);

// What a crash has left there.
Failure removeLeftovers(const std::string& directory);

}  // namespace understudy
