// Matrix multiplication by cuBLASLt, of whose header the source is the sole includer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/cuda_device.h"
#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::cuda {

// The algorithm that a tuned case keeps to, once chosen, and what was learnt of the others.
struct Tuned {
  std::vector<std::byte> algorithm = {};  // as cuBLASLt describes it
  std::size_t workspace_bytes = 0;
  Facts facts = {};
};
using Tunings = std::map<std::string, Tuned>;  // by case and device

// On the current device. A tuned case that isn't among `tunings` is tuned now, which takes seconds.
Prepared PrepareGemm(const Gemm& op, const Gpu& gpu, Tunings& tunings, std::uint64_t seed);

// "13.1.0".
std::string CublasLtVersion();

}  // namespace assay::cuda
