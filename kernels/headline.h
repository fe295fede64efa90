// The headline: one figure for a node, from the large GEMMs of a layer of Llama 3 70B, one after
// the other. Also how ops are run in turn as one workload, whichever backend runs them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/op.h"

namespace assay {

// One op of several that make an iteration.
struct Step {
  std::string name = {};
  Op op = {};
};

// qkv, o, gate_up and down for so many tokens, as `like` has dtype, cache and inputs; tensor
// parallel 1. Hidden size 8192, 64 query and 8 key-value heads of 128, feed-forward 28672
// (huggingface.co/meta-llama/Meta-Llama-3-70B, config.json).
std::vector<Step> HeadlineSteps(std::int64_t tokens, const Gemm& like);

// A workload whose iteration runs each step once, in order. Its time is the sum of theirs; each is
// verified, and the one nearest to its tolerance is shown. Skipped if any of them is.
Prepared PrepareInTurn(Backend& backend, const std::vector<Step>& steps, const Device& device,
                       std::uint64_t seed);

// The sum of what was counted in all of them.
Work TotalOf(const std::vector<Work>& works);

}  // namespace assay
