// Copies between the host and GPUs, and from GPU to GPU, by the GPUs' copy engines.
#pragma once

#include <cstdint>

#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// `device`: whose copies from and to the host are asked for.
Prepared PrepareCopy(const Copy& op, int device, std::uint64_t seed);

}  // namespace assay::cuda
