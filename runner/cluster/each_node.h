// A case of one node, such as a GEMM, on every node of a run at once. The first rank of each node
// does it, and the others sleep meanwhile.
#pragma once

#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// Makes one workload of what each node has prepared, or hands on this node's Skipped. Called on all
// ranks together, which must outlive the workload; `own` is this node's where this rank is the
// first of its node, and any null workload elsewhere.
//
// All nodes begin together, to a few milliseconds. The time of a batch is that of the slowest node,
// on all ranks. On rank 0, `per_unit` has each node's time, or the times of each node's devices;
// checks and histograms are those of all nodes, and facts are put together by FactsOfNodes. A node
// that can't go on is an Error on rank 0, with the node's number, and the ranks stay in step.
Prepared OnEachNode(Prepared own, Ranks& ranks);

}  // namespace assay
