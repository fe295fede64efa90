// A step of training, as one rank sees it: GEMMs, and beside them an all-reduce. In host memory the
// GEMMs have a thread of their own, on a GPU a stream. What each takes alone and what both take at
// once are measured in turn, each from a common start of all ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "collectives/host_collective.h"
#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

struct TrainingStep {
  Params gemm = {};        // dtype, m, n, k
  std::int64_t gemms = 0;  // of each rank; 0: as many as take `compute_percent` of the all-reduce
  std::int64_t compute_percent = 100;
  // Whether the all-reduce runs on GPUs, and so do the GEMMs, each rank's on its own.
  bool on_gpus = false;
  // Else: of a rank's cores, for the all-reduce alone; the GEMMs have the others. 0: both have all.
  std::int64_t comm_cores = 1;
  Work work = {};  // of all ranks, with one GEMM each
};

// This rank's share of the cores: ranks of one node that may use the same cores each get a part of
// them, or one core that they have in common where there are fewer cores than ranks. On every rank
// the list of all. Called on all ranks together.
std::vector<std::vector<int>> CoresByRank(Ranks& ranks);

// One iteration is a step. Batch::phases holds what results/METRICS.md calls compute_alone,
// communicate_alone, compute and communicate; each is the slowest rank's.
class Overlap : public Workload {
 public:
  struct Balance {
    std::int64_t gemms = 0;
    Seconds step = {};  // about what an iteration takes, all phases together
  };
  // Settles how many GEMMs make a step, which `gemms` 0 leaves to be found. Called once, on all
  // ranks together, before anything is run.
  virtual Balance Settle(std::int64_t gemms, std::int64_t compute_percent) = 0;
};

// `collective` prepares the all-reduce, as Library::Prepare does, on the cores that it will have;
// its workload is an Accompanied (collectives/companion.h). Called on all ranks together.
Prepared PrepareOverlap(const TrainingStep& step, Ranks& ranks, const GemmAt& gemm,
                        const std::function<Prepared()>& collective, std::uint64_t seed,
                        const Clock& clock = SteadyNow);

}  // namespace assay
