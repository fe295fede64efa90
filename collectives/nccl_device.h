// The GPUs that the ranks of a node share out among themselves.
#pragma once

#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The GPU of this rank, as nccl-tests counts: the ranks of a node take the GPUs that they see, in
// order. Called on all ranks together; throws Error on each where one has no GPU of its own. CUDA's
// current device stays as it is.
RankDevice OwnDevice(Ranks& ranks);

}  // namespace assay
