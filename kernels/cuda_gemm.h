// Matrix multiplication by cuBLASLt, of whose header the source is the sole includer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda_device.h"
#include "kernels/cuda_tuning.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// On the current device. A tuned case that isn't among `tunings` is tuned now, which takes seconds.
Prepared PrepareGemm(const Gemm& op, const Gpu& gpu, Tunings& tunings, std::uint64_t seed);

// One after the other on one stream, timed as one loop.
Prepared PrepareGemms(const std::vector<Step>& steps, const Gpu& gpu, Tunings& tunings,
                      std::uint64_t seed);

// "13.1.0".
std::string CublasLtVersion();

}  // namespace assay::cuda
