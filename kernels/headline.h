// The headline: one figure for a node, from the four large GEMMs of a layer of Llama 3 70B run one
// after the other.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/op.h"

namespace assay {

// The steps qkv, o, gate_up and down for `tokens` tokens, with tensor parallelism 1; all other
// fields (dtype, cache, inputs, …) are taken from `like`. The model has a hidden size of 8192, 64
// query and 8 key-value heads of 128, and a feed-forward of 28672
// (huggingface.co/meta-llama/Meta-Llama-3-70B, config.json).
std::vector<Step> HeadlineSteps(std::int64_t tokens, const Gemm& like);

}  // namespace assay
