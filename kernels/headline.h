// The headline: one figure for a node, from the large GEMMs of a layer of Llama 3 70B, one after
// the other.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/op.h"

namespace assay {

// qkv, o, gate_up and down for so many tokens, as `like` has dtype, cache and inputs; tensor
// parallel 1. Hidden size 8192, 64 query and 8 key-value heads of 128, feed-forward 28672
// (huggingface.co/meta-llama/Meta-Llama-3-70B, config.json).
std::vector<Step> HeadlineSteps(std::int64_t tokens, const Gemm& like);

}  // namespace assay
