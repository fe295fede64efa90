// The overlap probe: a step of training as one rank sees it, GEMMs and an all-reduce at the same
// time. In host memory the GEMMs have their own thread, on a GPU their own stream. The GEMMs alone,
// the all-reduce alone, and both at once are measured in turn, each from a common start of all
// ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "collectives/timed_collective.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The step that a case asks for.
struct TrainingStep {
  Params gemm = {};  // dtype, m, n, k
  // The GEMMs of each rank; 0: as many as take `compute_percent` of the all-reduce's time.
  std::int64_t gemms = 0;
  std::int64_t compute_percent = 100;
  // Whether the all-reduce and the GEMMs run on GPUs, one GPU for each rank.
  bool on_gpus = false;
  // The number of a rank's cores that only the all-reduce uses, in host memory; the GEMMs have the
  // others. 0: both have all.
  std::int64_t comm_cores = 1;
  Work work = {};  // the work of all ranks, with one GEMM each
};

// Makes a workload whose iteration is one step. Called on all ranks together, which must outlive
// the workload, and with the same `seed`, which decides the inputs and what runs alone first. In
// host memory the calling thread stays pinned to the all-reduce's cores for as long as the workload
// lives, and must run and destroy it. Returns Skipped where a rank has too few cores, or its
// all-reduce or GEMM is Skipped.
//
// Batch::phases holds the times that results/METRICS.md calls compute_alone, communicate_alone,
// compute and communicate; each is the slowest rank's. Where step.gemms is 0, Settle finds out by
// measuring how many GEMMs make a step, and returns the number as the param `gemms`; OneIteration
// is the work of all ranks with that many.
//
// `gemm` makes the case of one GEMM in its place (GemmAt, runner/core/probe.h). `collective`
// prepares the all-reduce, as Library::Prepare does, on the cores that it will have. Both are
// called within this call alone. Throws Error where the all-reduce's workload isn't an Accompanied
// (collectives/companion.h), or on GPUs the GEMM's has no Streamed.
Prepared PrepareOverlap(const TrainingStep& step, Ranks& ranks, const GemmAt& gemm,
                        const std::function<Prepared()>& collective, std::uint64_t seed,
                        const Clock& clock = SteadyNow);

}  // namespace assay
