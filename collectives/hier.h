// Two-level (hierarchical) collectives for several nodes with several ranks each. The ranks of a
// node exchange through shared memory; between nodes each rank exchanges with the ranks that have
// its place on the other nodes. Each rank then sends and receives only its share, and all links of
// a node are busy.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "collectives/collective.h"
#include "collectives/timed_collective.h"
#include "collectives/transport.h"
#include "runner/core/probe.h"
#include "runner/core/ranks.h"

namespace assay {

// The ranks of each node: element i holds those of node i, in rising order.
using Nodes = std::vector<std::vector<int>>;
// Finds out which ranks are on which node. Called on all ranks together; throws Error where a rank
// tells no node.
Nodes GatherNodes(Ranks& ranks);

// The reason why the operation can't be done on two levels with these nodes, or nothing. Whether
// its dtype and redop can be is for AlgorithmRefusal to say (collectives/algorithms.h).
std::optional<Skipped> HierRefusal(const Collective& collective, const Nodes& nodes);
// Whether there are two levels at all: several nodes, with more than one rank on the first.
bool HasTwoLevels(const Nodes& nodes);

// Makes this rank's end of a two-level collective. Called on all ranks together, which the
// transport connects and which must outlive the exchange; throws Error on all of them where one
// can't. REQUIRES: HierRefusal(collective, nodes) returns nothing, nor does AlgorithmRefusal for
// the same collective by algorithm "auto".
std::unique_ptr<Exchange> HierExchange(std::shared_ptr<Transport> transport, Ranks& ranks,
                                       const Nodes& nodes, const Collective& collective);

}  // namespace assay
