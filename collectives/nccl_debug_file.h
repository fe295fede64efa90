// The file that NCCL writes its own log to. The log tells how NCCL connects ranks, which
// collectives/nccl_log.h reads.
#pragma once

#include <fstream>
#include <memory>
#include <mutex>
#include <string>

namespace assay {

// A temporary file that NCCL is told to log to, by setting NCCL_DEBUG and its like in this
// process's environment. Nothing is set, and the log stays empty, where NCCL_DEBUG or
// NCCL_DEBUG_FILE is set already, or where no temporary file can be made. Unname and Log may be
// called in any thread, and OfProcess where no other thread reads the environment at the time.
class NcclDebugFile {
 public:
  // The one file of this process, which all of its ranks share, because NCCL has one log for each
  // process. It is made at the first call, and removed with its last owner; a file that is made
  // after that stays empty. It must be made before the first communicator, since NCCL reads the
  // environment then.
  static std::shared_ptr<NcclDebugFile> OfProcess();

  // Makes the file and sets the variables. It serves OfProcess, which callers use instead.
  NcclDebugFile();
  ~NcclDebugFile();
  NcclDebugFile(const NcclDebugFile&) = delete;
  NcclDebugFile& operator=(const NcclDebugFile&) = delete;

  // Removes the file's name, so that no kind of death leaves it behind; the file itself goes on
  // being written and read. REQUIRES: NCCL has opened it.
  void Unname();

  // All that NCCL has written until now; "" where it doesn't log to this file.
  std::string Log();

 private:
  std::mutex mutex_ = {};
  std::string path_ = {};  // "" where there is no file, or none with a name
  std::ifstream file_ = {};
};

}  // namespace assay
