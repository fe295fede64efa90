// oneDNN on the cores of this machine: GEMM, and attention forward as matmul, softmax, matmul.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace assay {

// Each thread stays on a core of its own, whatever the environment says about OpenMP.
std::unique_ptr<Backend> MakeOneDnnBackend(const Setup& setup);

// {"onednn", "2.6.3 (avx512_core_bf16)"}: the library and what it makes of this processor.
std::map<std::string, std::string> OneDnnSoftware();

}  // namespace assay
