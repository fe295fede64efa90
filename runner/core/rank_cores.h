// The cores of a node, as its ranks share them out.
#pragma once

#include <vector>

#include "runner/core/ranks.h"

namespace assay {

// The cores of each rank, on every rank: ranks of one node that may use the same cores get a part
// of them each, or one core that they have in common where there are fewer cores than ranks. Called
// on all ranks together. A core is the CPU number of its first hardware thread, as UsableCores has
// it.
std::vector<std::vector<int>> CoresByRank(Ranks& ranks);

}  // namespace assay
