// Products in groups of unlike sizes by cuBLAS, of whose header the source is the sole includer.
#pragma once

#include <cstdint>

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// On the current device.
Prepared PrepareGroupedGemm(const GroupedGemm& op, const Gpu& gpu, std::uint64_t seed);

}  // namespace assay::cuda
