#include "collectives/nccl_debug_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "results/base/descriptor.h"

namespace assay {

std::shared_ptr<NcclDebugFile> NcclDebugFile::OfProcess() {
  static std::mutex mutex;
  static std::weak_ptr<NcclDebugFile> known;
  const std::lock_guard lock(mutex);
  std::shared_ptr<NcclDebugFile> file = known.lock();
  if (!file) known = file = std::make_shared<NcclDebugFile>();
  return file;
}

NcclDebugFile::NcclDebugFile() {
  if (std::getenv("NCCL_DEBUG") != nullptr || std::getenv("NCCL_DEBUG_FILE") != nullptr) return;
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  if (error) return;
  std::string path = (folder / "assay-nccl-XXXXXX").string();
  const Descriptor made(mkostemp(path.data(), O_CLOEXEC));
  if (!made.IsOpen()) return;
  path_ = path;
  file_.open(path);
  setenv("NCCL_DEBUG", "INFO", 1);
  setenv("NCCL_DEBUG_SUBSYS", "INIT,NET", 1);
  setenv("NCCL_DEBUG_FILE", path.c_str(), 1);
}

NcclDebugFile::~NcclDebugFile() { Unname(); }

void NcclDebugFile::Unname() {
  const std::lock_guard lock(mutex_);
  if (!path_.empty()) unlink(path_.c_str());
  path_.clear();
}

std::string NcclDebugFile::Log() {
  const std::lock_guard lock(mutex_);
  file_.clear();
  file_.seekg(0);
  return {std::istreambuf_iterator<char>(file_), {}};
}

}  // namespace assay
