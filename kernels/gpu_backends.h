// The backends that modules hold and the ops that each has, which assay knows before it opens the
// module, and where there is none.
#pragma once

#include <variant>

#include "kernels/op.h"

namespace assay {

// The facts of one backend.
struct GpuBackendFacts {
  const char* name;             // Backend::Name
  bool (*has)(const Op& op);    // Backend::Has
  const char* module = "cuda";  // the module that holds it (Modules::Entry::name)
};

// Whether the op is of one of these kinds.
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
