// NCCL's own log, which tells how it connects (collectives/nccl_log.h).
#pragma once

#include <fstream>
#include <memory>
#include <mutex>
#include <string>

namespace assay {

// The file that NCCL's own log goes to, unless the user has set NCCL_DEBUG. It is made before the
// first communicator, since NCCL reads the environment then. All ranks of the process share it,
// because NCCL has one log for each process.
class DebugFile {
 public:
  static std::shared_ptr<DebugFile> OfProcess();

  DebugFile();
  ~DebugFile();
  DebugFile(const DebugFile&) = delete;
  DebugFile& operator=(const DebugFile&) = delete;

  // Removes the file's name, so that no kind of death leaves it behind. It goes on being written
  // and read. REQUIRES: NCCL has opened it.
  void Unname();

  // All that NCCL has written until now; "" where the user has set NCCL_DEBUG.
  std::string Log();

 private:
  std::mutex mutex_ = {};
  std::string path_ = {};  // "" once the file has no name
  std::ifstream file_ = {};
};

}  // namespace assay
