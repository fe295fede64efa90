// The backends of the module cuda and the ops that each has, which assay knows before it opens the
// module, and where there is none.
#pragma once

#include <variant>

#include "kernels/op.h"

namespace assay {

struct GpuBackendFacts {
  const char* name;
  bool (*has)(const Op& op);
};

template <class... Ops>
bool IsAnyOf(const Op& op) {
  return (std::holds_alternative<Ops>(op) || ...);
}

inline constexpr GpuBackendFacts kCuda = {.name = "cuda", .has = IsAnyOf<Memory, Copy, Launch>};
inline constexpr GpuBackendFacts kCublasLt = {.name = "cublaslt", .has = IsAnyOf<Gemm>};
inline constexpr GpuBackendFacts kCublas = {.name = "cublas", .has = IsAnyOf<GroupedGemm>};
inline constexpr GpuBackendFacts kCudnn = {.name = "cudnn", .has = IsAnyOf<Attention>};
inline constexpr GpuBackendFacts kGpuBackends[] = {kCuda, kCublasLt, kCublas, kCudnn};

}  // namespace assay
