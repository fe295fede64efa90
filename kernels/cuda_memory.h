// Streams through a GPU's memory: read, write, copy and triad, by kernels of our own whose threads
// move 16 bytes at a time.
#pragma once

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// On the current device. REQUIRES: op is complete (bytes > 0, passes > 0).
Prepared PrepareMemory(const Memory& op, const Gpu& gpu, std::uint64_t seed);

}  // namespace assay::cuda
