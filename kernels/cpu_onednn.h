// The oneDNN backend on this machine's cores: GEMM, and the forward of attention as three
// primitives (matmul, softmax, matmul).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace assay {

// Makes the backend, which runs on the setup's threads and cores. Each thread is pinned to a core,
// whatever the environment says about OpenMP. The setup need not outlive the backend.
std::unique_ptr<Backend> MakeOneDnnBackend(const Setup& setup);

// The library's version, and the instruction set that it chose for this processor:
// {"onednn", "2.6.3 (avx512_core_bf16)"}.
std::map<std::string, std::string> OneDnnSoftware();

}  // namespace assay
