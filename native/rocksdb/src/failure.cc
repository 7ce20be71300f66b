#include "failure.h"

namespace understudy {

namespace {

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

Failure failureOf(const rocksdb::Status& status) {
  if (status.ok()) return ok();
  const std::string message = status.ToString();
  if (status.IsNoSpace() || contains(message, "No space left on device") || contains(message, "Disk quota exceeded")) {
    return {"DISK_FULL", message};
  }
  if (status.IsCorruption()) return {"CORRUPTION", message};
  if (status.IsMemoryLimit()) return {"MEMORY", message};
  if (status.IsIOError() && contains(message, "lock ") && contains(message, "LOCK")) return {"LOCKED", message};
  return {"IO", message};
}

Failure failureOfOpen(const rocksdb::Status& status) {
  Failure failure = failureOf(status);
  if (failure.code == "IO" && (status.IsPathNotFound() || contains(failure.message, "No such file"))) {
    failure.code = "CORRUPTION";
  }
  // A table file that is missing is looked for under its older ending at last, and that name is told.
  for (size_t at = 0; (at = failure.message.find(".ldb: No such file", at)) != std::string::npos;) {
    failure.message.replace(at, 4, ".sst");
  }
  return failure;
}

Failure closedFailure() { return {"CLOSED", "the store is closed"}; }

}  // namespace understudy
