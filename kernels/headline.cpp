#include "kernels/headline.h"

namespace assay {

std::vector<Step> HeadlineSteps(std::int64_t tokens, const Gemm& like) {
  constexpr std::int64_t kHidden = 8192;
  constexpr std::int64_t kFeedForward = 28672;
  constexpr std::int64_t kHeads = 64;
  constexpr std::int64_t kHeadsKv = 8;
  constexpr std::int64_t kHeadDim = 128;
  const auto step = [&](const char* name, std::int64_t n, std::int64_t k) {
    Gemm gemm = like;
    gemm.m = tokens;
    gemm.n = n;
    gemm.k = k;
    return Step{.name = name, .op = gemm};
  };
  return {step("qkv", (kHeads + 2 * kHeadsKv) * kHeadDim, kHidden),
          step("o", kHidden, kHeads * kHeadDim), step("gate_up", 2 * kFeedForward, kHidden),
          step("down", kHidden, kFeedForward)};
}

}  // namespace assay
