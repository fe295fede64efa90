#include "collectives/nccl_debug_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "results/base/descriptor.h"

namespace assay {

std::shared_ptr<DebugFile> DebugFile::OfProcess() {
  static std::mutex mutex;
  static std::weak_ptr<DebugFile> known;
  const std::lock_guard lock(mutex);
  std::shared_ptr<DebugFile> file = known.lock();
  if (!file) known = file = std::make_shared<DebugFile>();
  return file;
}

DebugFile::DebugFile() {
  if (std::getenv("NCCL_DEBUG") != nullptr || std::getenv("NCCL_DEBUG_FILE") != nullptr) return;
  std::string path = (std::filesystem::temp_directory_path() / "assay-nccl-XXXXXX").string();
  const Descriptor made(mkostemp(path.data(), O_CLOEXEC));
  if (!made.IsOpen()) return;
  path_ = path;
  file_.open(path);
  setenv("NCCL_DEBUG", "INFO", 1);
  setenv("NCCL_DEBUG_SUBSYS", "INIT,NET", 1);
  setenv("NCCL_DEBUG_FILE", path.c_str(), 1);
}

DebugFile::~DebugFile() { Unname(); }

void DebugFile::Unname() {
  const std::lock_guard lock(mutex_);
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
}

std::string DebugFile::Log() {
  const std::lock_guard lock(mutex_);
  file_.clear();
  file_.seekg(0);
  return {std::istreambuf_iterator<char>(file_), {}};
}

}  // namespace assay
