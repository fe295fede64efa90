// Ranks that are threads of one process, as nccl-tests' -t and -g make them. Each of the processes
// that were joined has as many; they meet in memory, and the first of each process speaks with the
// other processes for all. Who is told of ranks sees plain ones: rank = that of the process ×
// threads × GPUs + the place within it.
#pragma once

#include <functional>
#include <memory>

#include "runner/ranks.h"

namespace assay {

struct PerProcess {
  int threads = 1;
  int gpus = 1;  // of each thread, which launches for them: Ranks::Together
  int Ranks() const { return threads * gpus; }
};

// The first rank of this process. The others do `others`, in a thread each that begins here; the
// first one's destructor waits for their end. One that throws is lost: whatever ranks of this
// process call from then on throws Error with its reason. Called on all processes together; throws
// Error where they don't have as many ranks each.
std::unique_ptr<Ranks> JoinThreads(std::unique_ptr<Ranks> processes, const PerProcess& per_process,
                                   const std::function<void(Ranks&)>& others);

}  // namespace assay
