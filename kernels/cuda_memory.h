// The memory probe on a GPU: read, write, copy and triad by this program's own kernels, whose
// threads move 16 bytes at a time.
#pragma once

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes the workload and its arrays, whose contents come from `seed`, ready on the current device,
// which is `gpu` and need not outlive the workload. Returns Skipped where the arrays don't fit the
// GPU's memory; throws Error where CUDA fails. REQUIRES: op.pattern is one of Memory's, op.bytes a
// positive multiple of 16, and op.passes at least 1.
Prepared PrepareMemory(const Memory& op, const Gpu& gpu, std::uint64_t seed);

}  // namespace assay::cuda
