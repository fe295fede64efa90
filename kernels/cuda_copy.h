// The copy probe: copies between the host and GPUs, and from GPU to GPU, by the GPUs' copy engines.
#pragma once

#include <cstdint>

#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes the copies of `op` ready, with sources filled from `seed`. `device` is the GPU of routes
// from and to the host; peer names its own devices, and all takes every GPU that CUDA shows.
// Returns Skipped where a GPU isn't there or memory doesn't suffice, of which the host gives up to
// half; throws Error where CUDA fails. This call and the workload change CUDA's current device.
// REQUIRES: op.bytes is a positive multiple of 16.
Prepared PrepareCopy(const Copy& op, int device, std::uint64_t seed);

}  // namespace assay::cuda
