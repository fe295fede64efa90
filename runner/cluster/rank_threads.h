// Ranks that are threads of one process, as nccl-tests' -t and -g make them. Each of the processes
// that were joined has equally many. They meet in memory, and the first rank of each process speaks
// with the other processes for all. To everybody else they are plain ranks: rank = that of the
// process × threads × GPUs + the place within it.
#pragma once

#include <functional>
#include <memory>

#include "runner/core/ranks.h"

namespace assay {

// The ranks of each process.
struct PerProcess {
  int threads = 1;
  int gpus = 1;  // the GPUs of each thread, which launches for them (Ranks::Together)
  int Ranks() const { return threads * gpus; }
};

// Makes the ranks of this process, and returns the first one. Each of the others runs `others` in a
// thread that begins here; the first one's destructor waits for their end. A rank whose `others`
// throws is lost, and all later calls of ranks of this process throw Error with its reason. Called
// on all processes together; throws Error where they don't have equally many ranks.
std::unique_ptr<Ranks> JoinThreads(std::unique_ptr<Ranks> processes, const PerProcess& per_process,
                                   const std::function<void(Ranks&)>& others);

}  // namespace assay
