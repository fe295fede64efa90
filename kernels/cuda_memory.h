// The memory probe on a GPU: read, write, copy and triad by this program's own kernels, whose
// threads move 16 bytes at a time.
#pragma once

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes the arrays and the workload ready on the current device, which is `gpu`. Returns Skipped
// where the arrays don't fit the GPU's memory. REQUIRES: op is complete (bytes > 0, passes > 0).
Prepared PrepareMemory(const Memory& op, const Gpu& gpu, std::uint64_t seed);

}  // namespace assay::cuda
