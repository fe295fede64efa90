// The copy probe: copies between the host and GPUs, and from GPU to GPU, by the GPUs' copy engines.
#pragma once

#include <cstdint>

#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes the copies of `op` ready, with buffers at both ends filled from `seed`. `device` is the GPU
// of routes from and to the host; peer and all name their own devices. Returns Skipped where there
// are too few GPUs or not enough memory.
Prepared PrepareCopy(const Copy& op, int device, std::uint64_t seed);

}  // namespace assay::cuda
