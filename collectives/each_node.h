// A case of one node, such as a GEMM, on every node of a run at once: the first rank of each does
// it and the others wait politely.
#pragma once

#include "runner/probe.h"
#include "runner/ranks.h"

namespace assay {

// Called on all ranks; `own` is this rank's where it is the first of its node, and ignored
// elsewhere. All begin together, to a few milliseconds. The time of a batch is that of the slowest
// node, on all ranks; on rank 0 `per_unit` has each node's, or of each node its devices', what is
// checked and the histograms are of all nodes, and facts are by FactsOfNodes. A node that can't go
// on is an Error there, with its number, and the ranks stay in step.
Prepared OnEachNode(Prepared own, Ranks& ranks);

}  // namespace assay
