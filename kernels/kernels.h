// All that the rest of the program sees of compute and memory on one device.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/op.h"
#include "runner/probe.h"

namespace assay::kernels {

// peak, gemm, memory, attention, headline.
std::vector<Probe> Probes(const Setup& setup);

// The op that a question of attention asks for; all params must be there. Throws Error for what
// contradicts itself, as unfolding does.
Attention AttentionOf(const Params& params);

// Names and versions of the libraries under it: {"onednn", "2.6.3 (avx512_core_bf16)"}.
std::map<std::string, std::string> Software();

}  // namespace assay::kernels
