// Grouped matrix multiplication (groups of unlike sizes in one call) by cuBLAS, whose header only
// the source includes.
#pragma once

#include <cstdint>

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes the grouped product ready on the current device, which is `gpu` and need not outlive the
// workload, with inputs from `seed`. Returns Skipped where cuBLAS has no such product here, the
// memory doesn't suffice, or an environment variable changes the arithmetic; throws Error where
// CUDA or cuBLAS fails.
Prepared PrepareGroupedGemm(const GroupedGemm& op, const Gpu& gpu, std::uint64_t seed);

}  // namespace assay::cuda
