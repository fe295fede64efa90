// Matrix multiplication by cuBLASLt, whose header only the source includes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda_device.h"
#include "kernels/cuda_tuning.h"
#include "kernels/op.h"
#include "runner/core/probe.h"

namespace assay::cuda {

// Makes one product ready on the current device, which is `gpu`, with inputs from `seed`. A case
// with algo = "tuned" that isn't in `tunings` yet is tuned now, which takes seconds, and added to
// it. Returns Skipped for a dtype that this build lacks or a shape that the dtype doesn't allow,
// and where cuBLASLt has no algorithm for it here, the memory doesn't suffice, or an environment
// variable changes the arithmetic; throws Error where CUDA or cuBLASLt fails, or no tuned algorithm
// is right. `gpu` and `tunings` need not outlive the workload, whose AsStreamed is never null.
Prepared PrepareGemm(const Gemm& op, const Gpu& gpu, Tunings& tunings, std::uint64_t seed);

// Makes several products ready, each as PrepareGemm does, which run one after the other on one
// stream and are timed as one loop. AsStreamed of the whole is null. A Skipped begins with the
// step's name. REQUIRES: there are steps, and every step's op is a Gemm.
Prepared PrepareGemms(const std::vector<Step>& steps, const Gpu& gpu, Tunings& tunings,
                      std::uint64_t seed);

// The version of cuBLASLt: "13.1.0".
std::string CublasLtVersion();

}  // namespace assay::cuda
